"""Growth of a study that has ended: more trials, and a choice that stands beside the earlier one.

The earlier choice has read the test split; the later one is made by validation alone, as the first
was, and is confirmed anew where it differs. What was confirmed before stays in the results, under a
name that tells from how many trials it had been chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from study.config.loading import build_config, dump_config, parse_overrides, put_value
from study.config.schema import StudyConfig
from study.errors import ConfigError
from study.selection.candidates import Candidate
from study.storage.ledger import StudyFolder

FILE = "extensions.json"
"""A list of ``from`` and ``to``, trials of the search, and ``candidates`` as they were then."""
MAY_CHANGE = ("search.trials", "resources.", "tracking.")


def extend(folder: StudyFolder, config: StudyConfig, overrides: Iterable[str]) -> StudyConfig:
    """Give a study more trials: ``search.trials=+50`` adds, a plain number is the new total.

    The ledger alone changes; the study then goes on as after an interruption.

    Raises:
        ConfigError: there is nothing to extend, or more than its length would change.
    """
    now = config.search.trials
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
    if extended.search.trials <= now or not config.searches:
        raise ConfigError(
            f"study '{folder.name}' has {now} trials of search, which --extend must raise, "
            "as by search.trials=+50"
        )
    # A driver may die between any two of these: an entry counts once the configuration has come
    # as far, and until then it may be all that tells of the earlier choice.
    entry = {"from": now, "to": extended.search.trials, "candidates": _choice(folder, config)}
    folder.write_json(FILE, [*extensions(folder, config), entry])
    folder.take_back_conclusions()
    folder.write_config(dump_config(extended))
    return extended


def _choice(folder: StudyFolder, config: StudyConfig) -> Any:
    """Give what was chosen, also where an extension that did not come about has taken it back."""
    if (chosen := folder.read_json("candidates.json")) is not None:
        return chosen
    begun = [e for e in folder.read_json(FILE) or [] if e["to"] > config.search.trials]
    return begun[-1]["candidates"] if begun else None


def extensions(folder: StudyFolder, config: StudyConfig) -> list[dict[str, Any]]:
    """Give the extensions that a study has had, the oldest first."""
    return [e for e in folder.read_json(FILE) or [] if e["to"] <= config.search.trials]


def beside_earlier(
    folder: StudyFolder, config: StudyConfig, chosen: Sequence[Candidate]
) -> list[Candidate]:
    """Put what an earlier, shorter search confirmed beside what is chosen now.

    Where a label names another trial than before, its confirmations move to ``LABEL-of-TRIALS``.
    What was confirmed under any label is not trained again.
    """
    earlier = [e for e in extensions(folder, config) if e["candidates"]]
    if not earlier:
        return list(chosen)
    labels = {candidate.label: candidate.source_trial for candidate in chosen}
    kept: list[Candidate] = []
    confirmed: dict[str | None, str] = {}  # by the trial it came from, the label it has now
    for old in (Candidate(**values) for values in earlier[-1]["candidates"]):
        if old.same_as is not None:
            continue
        if labels.get(old.label, old.source_trial) != old.source_trial:
            name = f"{old.label}-of-{earlier[-1]['from']}"
            _rename(folder, old.label, name)
            old = replace(old, label=name)
        if old.label not in labels:
            kept.append(old)
        confirmed[old.source_trial] = old.label

    def without_training_twice(candidate: Candidate) -> Candidate:
        label = confirmed.get(candidate.source_trial, candidate.same_as)
        return replace(candidate, same_as=None if label == candidate.label else label)

    return [*map(without_training_twice, chosen), *kept]


def _rename(folder: StudyFolder, label: str, name: str) -> None:
    """Rename a label's confirmations; doing it again after a crash does what was left."""
    for trial in list(folder.trials()):
        config = trial.config
        if trial.trial_id == f"confirm-{label}-seed{config['seed']}":
            trial.rename(f"confirm-{name}-seed{config['seed']}", label=name, arm=name)
