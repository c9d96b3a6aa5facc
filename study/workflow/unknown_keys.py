"""Keys that no configuration has, which are told before anything slow is looked at."""

from pathlib import Path

from study.config.loading import ConfigFaults, load_config
from study.config.sweep import is_sweep, load_sweep
from study.config.wording import faults_with_overrides, override_texts
from study.errors import ConfigError


def refuse_unknown_keys(source: Path, overrides: list[str]) -> None:
    """Raise if a configuration has a key that does not exist, which is mostly a typing error.

    Other faults of the configuration are told with it. Those of what it names, such as data, a
    checkpoint or a server, take seconds to find, and are told once the keys are right.

    Raises:
        ConfigError: it has one, or cannot be read.
    """
    try:
        if is_sweep(source):
            load_sweep(source, overrides)
        else:
            load_config(source, overrides)
    except ConfigFaults as faults:
        if faults.has_unknown_key:
            raise _with_faults_of_protocol(faults, overrides) from None


def _with_faults_of_protocol(faults: ConfigFaults, overrides: list[str]) -> ConfigFaults:
    """Return the faults, with those that depend on the protocol."""
    if faults.valid_config is None:
        return faults
    from study.protocols import find_protocol, find_protocol_faults

    try:
        protocol = find_protocol(faults.valid_config.protocol)
        found = list(find_protocol_faults(faults.valid_config, protocol))
    except ConfigError as error:
        found = [f"protocol: {error}"]
    kept = [fault for fault in found if not any(place in fault for place in faults.replaced)]
    more = faults_with_overrides(override_texts(overrides), kept)
    return ConfigFaults(
        faults.source, [*faults.faults, *more], faults.valid_config, faults.replaced
    )
