"""A refit that is asked for after a study has been tested, which what ships then says of itself."""

from collections.abc import Sequence

from study.config.loading import dump_config
from study.config.schema import WITHOUT_EFFECT, StudyConfig
from study.config.yaml_values import parse_overrides
from study.errors import ConfigError
from study.selection.extension import changed_config
from study.selection.shipped import candidate_to_ship, refit_trial_id
from study.storage.trial_folder import TrialFolder
from study.trial.study import Study

FILE = "refits.json"
"""A list of the sections ``refit`` that a study got after its test, oldest first."""
MAY_CHANGE = ("refit.", *WITHOUT_EFFECT)
"""The beginnings of the keys that a refit may change."""


def refitted_config(study: Study, overrides: Sequence[str]) -> StudyConfig:
    """Return the configuration of a finished study with another refit, without writing anything.

    Args:
        study: the study, with its frozen configuration.
        overrides: settings that begin as in `MAY_CHANGE`.

    Raises:
        ConfigError: the study is not finished or has chosen nothing, the refit does not change, or
            other settings would change.
    """
    config = study.config
    folder = study.folder
    candidates = study.candidates()
    if candidates is None or not study.protocol.searches(config) or not folder.is_complete():
        raise ConfigError(
            f"study '{folder.name}' has no finished choice to train once more; allowed is a "
            "finished study with a search, see clipfit-study status"
        )
    advice = "; refit takes refit.images, resources and tracking"
    refitted = changed_config(study, parse_overrides(overrides), MAY_CHANGE, advice)
    if refitted.refit == config.refit and not _failed_trials(study):
        values_now = [f"refit.{name}={value}" for name, value in config.refit]
        raise ConfigError(
            f"study '{folder.name}' has {', '.join(values_now)} already; allowed is another value, "
            "as refit.images=everything"
        )
    return refitted


def ask_for_refit(study: Study, refitted: StudyConfig) -> None:
    """Give a study the configuration of `refitted_config`, and delete its registration.

    Running the study then continues it as after an interruption.
    """
    folder = study.folder
    asked = folder.read_json(FILE) or []
    if refitted.refit != study.config.refit:
        folder.write_json(FILE, [*asked, refitted.refit.model_dump(mode="json")])
    for trial in _failed_trials(Study(refitted, folder)):
        trial.reopen()
    folder.delete_conclusions(choice=False)
    folder.write_config(dump_config(refitted))


def was_asked_after_test(study: Study) -> bool:
    """Return whether the refit of a study was asked for after its test had been read."""
    return study.config.refit.model_dump(mode="json") in (study.folder.read_json(FILE) or [])


def _failed_trials(study: Study) -> list[TrialFolder]:
    """Return the trial of the refit if it failed, which is then tried again."""
    candidate = candidate_to_ship(study.candidates())
    if not candidate:
        return []
    trial = study.folder.trial(refit_trial_id(study.config.refit, candidate))
    end = trial.read_end()
    return [trial] if end and end.status == "failed" else []
