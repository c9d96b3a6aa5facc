"""The command ``extend``: more trials for a study, or another final model.

The candidates of a study that gets more trials were tested already. New ones are chosen by
validation alone, as the earlier one was, and is tested where it differs. Tests are named by what
was trained, so that nothing that was tested moves.
"""

import shlex
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from study.commands.arguments import add_settings, add_study
from study.commands.console import output_console
from study.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from study.config.schema import StudyConfig
    from study.storage.study_folder import StudyFolder
    from study.trial.study import Study

HELP = (
    "add trials to a study (search.trials=+50), or train another final model "
    "(final.images=everything)"
)

EXTENDABLE = ("search.trials", "search.minutes", "final.images")
"""The keys that an extension may change, beside those that change no result."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add a study and settings."""
    add_study(parser)
    add_settings(parser)


def run(options: Namespace) -> None:
    """Give a study more trials or another final model, and continue it.

    Raises:
        StudyError: there is a fault that the user can fix, or the study was interrupted.
    """
    from study.commands.find import find_study

    folder = find_study(options.name, options.storage)
    extend_and_run(folder, options.settings, output_console())


def extended_config(study: "Study", overrides: Sequence[str]) -> "StudyConfig":
    """Return the configuration of an extended study, without writing anything.

    Args:
        study: the study, with its frozen configuration.
        overrides: ``search.trials=+50`` for 50 more, or a plain number for the new total;
            ``final.images`` for another final model; and settings of resources and tracking.

    Raises:
        ConfigError: the study has no search, neither the number grows nor the final model changes,
            no time would be left, or other settings would change.
    """
    from study.commands.find import refuse_changed_results
    from study.config.loading import build_config
    from study.config.yaml_values import parse_overrides
    from study.storage.command_lines import PROGRAM, study_command
    from study.trial.search_time import seconds_used

    config, folder, now = study.config, study.folder, study.config.search.trials
    if not study.protocol.searches(config):
        raise ConfigError(
            f"study '{folder.name}' has no search to extend; start another study of its "
            "configuration, with the cells, baselines or trials that you want:\n"
            f"  {PROGRAM} run {shlex.quote(str(folder.config_path))} name=ANOTHER KEY=VALUE"
        )
    changes = parse_overrides(overrides)
    adds = any(override.startswith("search.trials=+") for override in overrides)
    if adds and isinstance(changes["search.trials"], int):
        changes["search.trials"] += now
    extended = build_config(config.model_dump(mode="json"), str(folder.config_path), changes)
    refuse_changed_results(config, extended, folder, besides=EXTENDABLE)
    grows = extended.search.trials > now
    changes_model = extended.search == config.search and extended.final != config.final
    if not (grows or changes_model):
        raise ConfigError(
            f"study '{folder.name}' has search.trials={now} and "
            f"final.images={config.final.images}; raise the first or change the second, "
            f"for example by\n  {study_command('extend', folder.path, 'search.trials=+50')}"
        )
    used = seconds_used(folder) / 60
    least, minutes = max(used, config.search.minutes or 0), extended.search.minutes
    if grows and minutes and minutes <= least:  # the search would end at once
        raise ConfigError(
            f"search.minutes: got {minutes:g}, and the search of '{folder.name}' has taken "
            f"{used:.1f} minutes; expected more than {least:.4g}, or null for no limit"
        )
    return extended


def extend(study: "Study", extended: "StudyConfig") -> None:
    """Give a study the configuration of `extended_config`, and delete its conclusions.

    Only the study's files change; running the study then continues it as after an interruption.
    Candidates are chosen again only if there will be more trials.

    Args:
        study: the study, with its frozen configuration.
        extended: its configuration with more trials or another final model.
    """
    from study.config.loading import dump_config
    from study.results.best_configuration import EXTENSIONS, extensions, final_trial
    from study.storage.study_folder import CANDIDATES

    folder, now = study.folder, study.config.search.trials
    final = final_trial(study)
    entry: dict[str, Any] = {
        "from": now,
        "to": extended.search.trials,
        "candidates": None,
        "final": final.trial_id if final else None,
    }
    grows = extended.search.trials > now
    if grows:
        # The driver may die between any two of these writes. An entry counts only once the
        # configuration has that many trials; until then it may hold the candidates' only copy.
        entry["candidates"] = folder.read_json(CANDIDATES)
        written = folder.read_json(EXTENSIONS)
        if entry["candidates"] is None and written and written[-1]["to"] > now:
            entry |= {name: written[-1][name] for name in ("candidates", "final")}
    folder.write_json(EXTENSIONS, [*extensions(study), entry])
    folder.mark_incomplete(candidates=grows)
    folder.write_config(dump_config(extended))


def extend_and_run(folder: "StudyFolder", overrides: Sequence[str], console: "Console") -> None:
    """Give a study more trials or another final model, and continue it.

    Args:
        folder: the folder of the study.
        overrides: see `extended_config`.
        console: where progress and results are printed.

    Raises:
        StudyError: there is a fault that the user can fix, or the study was interrupted.
    """
    from study.commands.check import check_study
    from study.commands.execution import run_study
    from study.commands.find import load_study

    study = load_study(folder)
    with folder.locked():
        config = extended_config(study, overrides)
        # A study that cannot be continued now stays as finished as it is.
        check_study(study.with_config(config), resuming=True)
        extend(study, config)
    run_study(study.with_config(config), console, resume=True)
