"""The commands that run a study, or look at it: the words, which are read before slow imports."""

import os
from argparse import Namespace
from pathlib import Path

from study.config.loading import ConfigFaults, load_config
from study.config.shipped import QUICKSTART
from study.config.sweep import is_sweep, load_sweep
from study.config.wording import named_with, texts_of_overrides
from study.config.yaml_values import parse_overrides
from study.errors import ConfigError
from study.process.ctrl_c import leaving_at_ctrl_c
from study.process.garbage import uncollected
from study.storage.study_folder import StudyFolder
from study.workflow.lookup import find_config, find_study


def run(options: Namespace) -> None:
    """Run a study or a sweep, or do what a command says with a study that exists.

    Raises:
        StudyError: there is a fault that the user can fix, or the study was interrupted.
    """
    with uncollected():
        overrides = [word for word in options.arguments if "=" in word]
        target = _target(options, overrides)
        if isinstance(target, Path):
            _refuse_unknown_keys(target, overrides)
        with leaving_at_ctrl_c():
            from study.workflow.dispatch import carry_out
        carry_out(options, target, overrides)


def _target(options: Namespace, overrides: list[str]) -> StudyFolder | Path:
    """Return what the words name: the folder of a study, or a configuration.

    Raises:
        ConfigError: it is not there, or there are too many words.
    """
    named = [word for word in options.arguments if "=" not in word]
    for option in ("images", "estimate"):
        if getattr(options, option) and not options.check:
            raise ConfigError(f"--{option} belongs to --check, which starts nothing")
    begins = options.command == "run"
    if len(named) > int(begins):
        raise ConfigError(
            f"one configuration at most, got {', '.join(named)}; a value is set by key=value, as "
            "in search.trials=40"
        )
    values = parse_overrides(overrides)
    if not begins:
        return find_study(options.study, values.get("storage"))
    default = os.environ.get("STUDY_CONFIG") or QUICKSTART
    return find_config(named[0] if named else default)


def _refuse_unknown_keys(source: Path, overrides: list[str]) -> None:
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
    if faults.rest is None:
        return faults
    from study.protocols import disagreements, named

    try:
        found = list(disagreements(faults.rest, named(faults.rest.protocol)))
    except ConfigError as error:
        found = [f"protocol: {error}"]
    kept = [fault for fault in found if not any(place in fault for place in faults.replaced)]
    more = named_with(texts_of_overrides(overrides), kept)
    return ConfigFaults(faults.source, [*faults.faults, *more], faults.rest, faults.replaced)
