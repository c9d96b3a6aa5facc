"""A first check for unknown keys, before anything slow is checked."""

from pathlib import Path

from study.config.loading import ConfigFaults, load_config
from study.config.sweep import is_sweep, load_sweep
from study.config.wording import UNKNOWN_KEY, faults_with_overrides, override_texts
from study.errors import ConfigError


def refuse_unknown_keys(source: Path, overrides: list[str]) -> None:
    """Raise if a configuration has a key that does not exist, which is mostly a typing error.

    Other faults of the values are reported with it. Faults of the data, the checkpoint or a server
    take seconds to find, and are reported only when all keys exist.

    Raises:
        ConfigError: the configuration has an unknown key, or cannot be read.
    """
    try:
        if is_sweep(source):
            load_sweep(source, overrides)
        else:
            load_config(source, overrides)
    except ConfigFaults as error:
        if any(f": {UNKNOWN_KEY}; " in fault for fault in error.faults):
            raise _add_faults_of_protocol(error, overrides) from None


def _add_faults_of_protocol(error: ConfigFaults, overrides: list[str]) -> ConfigFaults:
    """Return the faults of an error, with those that depend on the protocol."""
    config = error.valid_config
    if not config:
        return error
    from study.protocols import find_protocol, find_protocol_faults

    try:
        faults = list(find_protocol_faults(config, find_protocol(config.protocol)))
    except ConfigError as unknown:
        faults = [f"protocol: {unknown}"]
    # A default that replaces a faulty value is not blamed.
    blamed = []
    for fault in faults:
        if not any(path in fault for path in error.replaced):
            blamed.append(fault)
    blamed = faults_with_overrides(override_texts(overrides), blamed)
    return ConfigFaults(error.source, error.faults + blamed, config, error.replaced)
