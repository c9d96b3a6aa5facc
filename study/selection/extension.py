"""The extension of a study by more trials, with a new choice next to the earlier one.

The earlier choice has already been tested. The new one is made by validation alone, as the earlier
one was, and is tested where it differs. Earlier test results are kept; if a label now means another
trial, they get a label with the number of trials from which they were chosen.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from study.config.loading import build_config, dump_config, parse_overrides, put_value
from study.config.schema import WITHOUT_EFFECT, StudyConfig
from study.errors import ConfigError
from study.storage.ledger import CANDIDATES, StudyFolder
from study.trial.study import Candidate, Study

FILE = "extensions.json"
"""A list of extensions: numbers of trials ``from`` and ``to``, and the ``candidates`` before it."""
MAY_CHANGE = ("search.trials", *WITHOUT_EFFECT)
"""The beginnings of the keys that an extension may change."""


def extend(study: Study, overrides: Iterable[str]) -> StudyConfig:
    """Raise a study's number of trials and return the new configuration.

    Only the study's files change; running the study then continues it as after an interruption.

    Args:
        study: the study, with its frozen configuration.
        overrides: ``search.trials=+50`` for 50 more, or a plain number for the new total, and
            settings that begin as in `MAY_CHANGE`.

    Raises:
        ConfigError: the study has no search, the number does not grow, or other settings would
            change.
    """
    config, folder, now = study.config, study.folder, study.config.search.trials
    values = config.model_dump(mode="json")
    overrides = list(overrides)
    adds = any(override.startswith("search.trials=+") for override in overrides)
    for key, value in parse_overrides(overrides).items():
        if key == "storage":
            continue
        if not key.startswith(MAY_CHANGE):
            raise ConfigError(
                f"{key} cannot change in a study that exists, since its trials would no longer "
                "compare; --extend takes search.trials, resources and tracking"
            )
        more = key == "search.trials" and adds and isinstance(value, int)
        put_value(values, key, now + value if more else value)
    extended = build_config(values, str(folder.config_path))
    if extended.search.trials <= now or not study.protocol().searches(config):
        raise ConfigError(
            f"study '{folder.name}' has {now} trials of search, which --extend must raise, "
            "as by search.trials=+50"
        )
    # The driver may die between any two of these writes. An entry counts only once the
    # configuration has that many trials; until then it may hold the only copy of the choice.
    entry = {"from": now, "to": extended.search.trials, "candidates": _choice(study)}
    folder.write_json(FILE, [*extensions(study), entry])
    folder.take_back_conclusions()
    folder.write_config(dump_config(extended))
    return extended


def _choice(study: Study) -> Any:
    """Return the present choice, even if an interrupted extension has already deleted it."""
    if (chosen := study.folder.read_json(CANDIDATES)) is not None:
        return chosen
    written = study.folder.read_json(FILE) or []
    interrupted = [entry for entry in written if entry["to"] > study.config.search.trials]
    return interrupted[-1]["candidates"] if interrupted else None


def extensions(study: Study) -> list[dict[str, Any]]:
    """Return the completed extensions of a study, oldest first."""
    written = study.folder.read_json(FILE) or []
    return [entry for entry in written if entry["to"] <= study.config.search.trials]


def beside_earlier(study: Study, chosen: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates chosen now, and those tested after an earlier, shorter search.

    If a label now means another trial than before, its earlier test results move to the label
    ``LABEL-of-TRIALS``. A configuration that was tested under any label is not trained again.
    """
    if not (earlier := [e for e in extensions(study) if e["candidates"]]):
        return list(chosen)
    labels = {candidate.label: candidate.source_trial for candidate in chosen}
    kept: list[Candidate] = []
    confirmed: dict[str | None, str] = {}  # source trial → its label now
    for old in map(Candidate.model_validate, earlier[-1]["candidates"]):
        if old.same_as is not None:
            continue
        if labels.get(old.label, old.source_trial) != old.source_trial:
            name = f"{old.label}-of-{earlier[-1]['from']}"
            _rename(study.folder, old.label, name)
            old = old.model_copy(update={"label": name})
        if old.label not in labels:
            kept.append(old)
        confirmed[old.source_trial] = old.label

    def without_training_twice(candidate: Candidate) -> Candidate:
        label = confirmed.get(candidate.source_trial, candidate.same_as)
        return candidate.model_copy(update={"same_as": None if label == candidate.label else label})

    return [*map(without_training_twice, chosen), *kept]


def _rename(folder: StudyFolder, label: str, name: str) -> None:
    """Rename the test trials of a label; after a crash, a second call renames the rest."""
    for trial in list(folder.trials()):
        config = trial.read_config()
        if trial.trial_id == f"confirm-{label}-seed{config['seed']}":
            trial.rename(f"confirm-{name}-seed{config['seed']}", label=name, arm=name)
