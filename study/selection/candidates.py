"""The choice of the configurations to test, fixed by validation before the test split is read.

A study can be extended by more trials, and gets a new choice next to the earlier one. The earlier
choice has already been tested. The new one is made by validation alone, as the earlier one was, and
is tested where it differs. Earlier test results are kept; if a label now means another trial, they
get a label with the number of trials from which they were chosen.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from study.config.loading import build_config, dump_config, parse_overrides, put_value
from study.config.schema import RANKS, TUNED, WITHOUT_EFFECT, StudyConfig
from study.errors import ConfigError, StudyError
from study.storage.ledger import CANDIDATES, StudyFolder
from study.trial.study import Candidate, Study, TrialConfig

FILE = "extensions.json"
"""A list of extensions: numbers of trials ``from`` and ``to``, and the ``candidates`` before it."""
MAY_CHANGE = ("search.trials", *WITHOUT_EFFECT)
"""The beginnings of the keys that an extension may change."""


@dataclass(frozen=True)
class Judged:
    """A trial that completed all its epochs."""

    config: TrialConfig
    val_score: float
    """The validation score after the last, a fraction, by which trials are ranked."""


def finished_trials(folder: StudyFolder) -> list[Judged]:
    """Return the search's trials that completed all their epochs, best first.

    Of equal scores, the one with fewer tuned parameters comes first, then the earlier trial.
    """
    judged = [
        Judged(
            TrialConfig.model_validate(trial.read_config()), trial.read_reports()[-1]["val_score"]
        )
        for trial in folder.trials()
        if trial.read_config()["stage"] == "search"
        and (end := trial.read_end()) is not None
        and end.status == "finished"
    ]
    return sorted(judged, key=lambda j: (-j.val_score, j.config.trainable, j.config.number))


def choose_candidates(
    judged: Sequence[Judged], baselines: Iterable[str], runners_up: int
) -> list[Candidate]:
    """Return the configurations to test: baselines, tuned CLIPFit, the winner and the runners-up.

    A baseline can win too. Tuned CLIPFit is the best of CLIPFit's own search and the baseline
    ``clipfit``, which has the published rates.

    Args:
        judged: the finished trials, best first.
        baselines: the labels of the baselines.
        runners_up: the number of configurations to test after the winner.
    """
    named = {j.config.label: j for j in judged if j.config.arm == "baseline"}
    own_search = [j for j in judged if j.config.arm == TUNED or j.config.label == "clipfit"]
    chosen = [
        *((label, named[label]) for label in baselines if label in named),
        *((TUNED, judgement) for judgement in own_search[:1]),
        *zip(RANKS, judged[: runners_up + 1], strict=False),
    ]
    first = {j.config.trial_id: label for label, j in reversed(chosen)}
    return [
        Candidate(
            label=label,
            settings=j.config.settings,
            val_score=j.val_score,
            source_trial=j.config.trial_id,
            same_as=None if first[j.config.trial_id] == label else first[j.config.trial_id],
        )
        for label, j in chosen
    ]


def fix_candidates(study: Study) -> tuple[Candidate, ...]:
    """Return the candidates of a study; the first call chooses and writes them.

    They are chosen by validation, and those that were tested before the search was extended stay
    beside them. Without a search they are the baselines.

    Raises:
        StudyError: no trial completed all its epochs.
    """
    if (written := study.candidates()) is not None:
        return written
    config, folder, protocol = study.config, study.folder, study.protocol()
    if not protocol.searches(config):
        given = protocol.tested_as_given(config)
        return study.choose(Candidate(label=label, settings=own) for label, own in given.items())
    if not (judged := finished_trials(folder)):
        ends = (trial.read_end() for trial in folder.trials())
        causes = [end.cause for end in ends if end and end.status == "failed" and end.cause]
        raise StudyError(
            f"no trial of {folder.name} ran all its epochs, so there is nothing to confirm; "
            f"the last error was: {causes[-1] if causes else 'none'}"
        )
    chosen = choose_candidates(judged, config.search.baselines, config.confirm.runners_up)
    return study.choose(beside_earlier(study, chosen))


def extend(study: Study, overrides: Sequence[str]) -> StudyConfig:
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
    chosen, written = folder.read_json(CANDIDATES), folder.read_json(FILE)
    if chosen is None and written and written[-1]["to"] > now:
        chosen = written[-1]["candidates"]
    entry = {"from": now, "to": extended.search.trials, "candidates": chosen}
    folder.write_json(FILE, [*extensions(study), entry])
    folder.take_back_conclusions()
    folder.write_config(dump_config(extended))
    return extended


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
    tested = map(Candidate.model_validate, earlier[-1]["candidates"])
    for old in (candidate for candidate in tested if candidate.same_as is None):
        if labels.get(old.label, old.source_trial) != old.source_trial:
            name = f"{old.label}-of-{earlier[-1]['from']}"
            for trial in list(study.folder.trials()):  # some, if an earlier call was cut short
                seed = trial.read_config()["seed"]
                if trial.trial_id == f"confirm-{old.label}-seed{seed}":
                    trial.rename(f"confirm-{name}-seed{seed}", label=name, arm=name)
            old = old.model_copy(update={"label": name})
        if old.label not in labels:
            kept.append(old)
        confirmed[old.source_trial] = old.label

    def without_training_twice(candidate: Candidate) -> Candidate:
        label = confirmed.get(candidate.source_trial, candidate.same_as)
        return candidate.model_copy(update={"same_as": None if label == candidate.label else label})

    return [*map(without_training_twice, chosen), *kept]
