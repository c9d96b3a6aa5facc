"""The choice of the configurations to test, fixed by validation before the test split is read.

A study can be extended by more trials, and gets a new choice next to the earlier one. The earlier
choice has already been tested. The new one is made by validation alone, as the earlier one was, and
is tested where it differs. Earlier test results are kept; if a label now means another trial, they
get a label with the number of trials from which they were chosen.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import stdev
from typing import Any

from study.config.labels import (
    BEST_PEER,
    CALIBRATED,
    FULL_STRENGTH,
    FURTHER,
    PLAIN,
    PLAIN_STRENGTH,
    RANKS,
    SMALLEST,
    TUNED,
    TUNED_LINEAR,
    WITH_DELTA,
)
from study.config.loading import build_config, dump_config
from study.config.schema import WITHOUT_EFFECT, StudyConfig
from study.config.trial_settings import TrialSettings
from study.config.yaml_values import parse_overrides, put_value
from study.errors import ConfigError, StudyError
from study.storage.command_lines import extend_command
from study.storage.study_folder import CANDIDATES, StudyFolder
from study.storage.trial_folder import TrialFolder
from study.trial.study import Candidate, Study, TrialConfig

FILE = "extensions.json"
"""A list of extensions: numbers of trials ``from`` and ``to``, and the ``candidates`` before it."""
TEXT: dict[str, Any] = {"head": "text", "head_lr": None, "head_steps": None}
"""The settings of a head that is the text."""
MAY_CHANGE = ("search.trials", "search.minutes", *WITHOUT_EFFECT)
"""The beginnings of the keys that an extension may change."""


@dataclass(frozen=True)
class Judged:
    """A trial that completed all its epochs."""

    config: TrialConfig
    val_score: float
    """The validation score after the last, a fraction, by which trials are ranked."""
    report: Mapping[str, Any] = field(default_factory=dict)
    """The last report."""

    @property
    def rank(self) -> tuple[float, int, int]:
        """What puts the best first: of equal scores fewer tuned values, then the earlier trial."""
        return -self.val_score, self.config.trainable, self.config.number

    @property
    def settings(self) -> TrialSettings:
        """What it would be tested with: its settings, and the head that validation chose for it."""
        return self.config.settings.as_reported(self.report)

    @property
    def folds(self) -> Sequence[float]:
        """The validation score of each fold; empty where there is one, or none was recorded."""
        return self.report.get("folds", ())


def finished_trials(folder: StudyFolder) -> list[Judged]:
    """Return the search's trials that completed all their epochs, best first."""
    judged = [
        Judged(TrialConfig.model_validate(trial.read_config()), last["val_score"], last)
        for trial in folder.trials()
        if trial.read_config()["stage"] == "search"
        and (end := trial.read_end()) is not None
        and end.status == "finished"
        for last in trial.read_reports()[-1:]
    ]
    return sorted(judged, key=lambda j: j.rank)


def tuned_clipfit(judged: Iterable[Judged]) -> Judged | None:
    """Return the best of CLIPFit's own search and of CLIPFit as published, best first given."""
    own = (j for j in judged if j.config.arm == TUNED or _is_baseline(j, "clipfit"))
    return next(own, None)


def tuned_with_head(judged: Iterable[Judged]) -> Judged | None:
    """Return the best trial that uses the training of tuned CLIPFit with a linear head.

    Args:
        judged: the finished trials, best first.

    Returns:
        None where no trial does, as in a study without linear heads.
    """
    ranked = list(judged)
    tuned = tuned_clipfit(ranked)
    if tuned is None:
        return None
    training = _training(tuned)
    with_head = (one for one in ranked if one.config.settings.head == "linear")
    return next((one for one in with_head if _training(one) == training), None)


def smallest(judged: Sequence[Judged]) -> Judged | None:
    """Return the trial with the fewest tuned values within one standard error of the best.

    The standard error is that of the difference to the best, paired over the folds.

    Args:
        judged: the finished trials, best first.

    Returns:
        None where there are no folds to tell a standard error from, of every trial.
    """
    if len({len(j.folds) for j in judged}) != 1 or len(judged[0].folds) < 2:
        return None
    best = judged[0]

    def is_as_good(other: Judged) -> bool:
        differences = [b - o for b, o in zip(best.folds, other.folds, strict=True)]
        error = stdev(differences) / math.sqrt(len(differences))
        return best.val_score - other.val_score <= error

    return min(filter(is_as_good, judged), key=lambda j: (j.config.trainable, -j.val_score))


def variants(
    judged: Sequence[Judged], config: StudyConfig, strength: float
) -> dict[str, TrialSettings]:
    """Return further settings of what is validated without head and strength: with them.

    Args:
        judged: the finished trials, best first.
        config: the study's configuration.
        strength: the protocol's strength.

    Returns:
        The settings by label; those equal to others among the finished trials are left out.
    """
    tuned = tuned_clipfit(judged)
    named = {label: _baseline(judged, label) for label in config.search.baselines}
    plain = {label: found for label, found in {**named, TUNED: tuned}.items() if found}
    changes = _variant_changes(config, strength)
    known = {_trained(j.config.subset_key, j.config.settings) for j in judged}
    found: dict[str, TrialSettings] = {}
    for label, one in plain.items():
        if not one.config.epochs:
            continue
        for suffix, change in changes.items():
            own = one.config.settings.model_copy(update=change)
            key = _trained(one.config.subset_key, own)
            if key not in known:
                known.add(key)
                found[f"{label}-{suffix}"] = own
    return found


def possible_variants(config: StudyConfig, strength: float) -> list[str]:
    """Return the labels that `variants` can have at most, whatever the search finds.

    Args:
        config: the study's configuration.
        strength: the protocol's strength.
    """
    search = config.search
    plain = dict(search.fixed)
    for label, peer in search.peer_arms.items():
        plain[label] = TrialSettings(subset="none", peer=peer.at(peer.lr[0]))
    plain[TUNED] = TrialSettings(subset=search.fixed["clipfit"].subset)
    labels = []
    for label, own in plain.items():
        if own.subset == "none" and own.peer is None:
            continue
        for suffix, change in _variant_changes(config, strength).items():
            if own.model_copy(update=change) != own:
                labels.append(f"{label}-{suffix}")
    return labels


def _variant_changes(config: StudyConfig, strength: float) -> dict[str, dict[str, Any]]:
    """Return what variants change, by the endings of their labels."""
    changes: dict[str, dict[str, Any]] = {}
    if "text" in config.search.space.heads:
        changes["strength"] = {"strength": strength}
    if "linear" in config.search.space.heads:
        changes["linear"] = {"strength": strength, "head": "linear"}
    return changes


def choose_candidates(
    judged: Sequence[Judged], baselines: Iterable[str], runners_up: int
) -> list[Candidate]:
    """Return the configurations to test; equal ones are trained once.

    They are the baselines, tuned CLIPFit without and with a linear head, the winner, the
    runners-up, the smallest within one standard error of the winner, the best peer, and the winner
    without its head and its strength. A baseline can win too. Tuned CLIPFit is the best of
    CLIPFit's own search and the baseline ``clipfit``, which has the published rates.

    Args:
        judged: the finished trials, best first.
        baselines: the labels of the baselines.
        runners_up: the number of configurations to test after the winner.
    """
    chosen = [
        *((label, found) for label in baselines if (found := _baseline(judged, label))),
        *((TUNED, found) for found in [tuned_clipfit(judged)] if found),
        *zip(RANKS, judged[: runners_up + 1], strict=False),
        *((TUNED_LINEAR, found) for found in [tuned_with_head(judged)] if found),
        *((SMALLEST, found) for found in [smallest(judged)] if found),
    ]
    peers = [(BEST_PEER, j) for j in judged if j.settings.is_peer][:1]
    chosen += [(label, peer) for label, peer in peers if all(peer is not j for _, j in chosen)]
    best = judged[0]
    if not best.settings.writes_delta:
        chosen += [(WITH_DELTA, j) for j in judged if j.settings.writes_delta][:1]
    candidates = [
        (
            j.config.subset_key,
            Candidate(
                label=label,
                settings=j.settings,
                val_score=j.val_score,
                source_trial=j.config.trial_id,
            ),
        )
        for label, j in chosen
    ]
    changes: dict[str, dict[str, Any]] = {
        PLAIN: {**TEXT, "strength": 1.0},
        PLAIN_STRENGTH: TEXT,
        FULL_STRENGTH: {"strength": 1.0},
    }
    if "val_calibration" in best.report:
        changes[CALIBRATED] = {"calibration": best.report["val_calibration"]}
    candidates += [
        (
            best.config.subset_key,
            Candidate(label=label, settings=best.settings.model_copy(update=own)),
        )
        for label, own in changes.items()
    ]
    first = {_trained(key, c.settings): c.label for key, c in reversed(candidates)}
    same = ((c, first[_trained(key, c.settings)]) for key, c in candidates)
    return [c if label == c.label else c.model_copy(update={"same_as": label}) for c, label in same]


def _baseline(judged: Iterable[Judged], label: str) -> Judged | None:
    """Return a baseline; of a peer that has a search of its own, the best."""

    def is_of_its_search(one: Judged) -> bool:
        return one.config.arm == label and one.settings.peer is not None

    return next((j for j in judged if is_of_its_search(j) or _is_baseline(j, label)), None)


def _is_baseline(one: Judged, label: str) -> bool:
    return (one.config.arm, one.config.label) == ("baseline", label)


def _training(one: Judged) -> tuple[str, TrialSettings]:
    """Return what is equal for trials that differ in head, strength or calibration alone."""
    return _trained(one.config.subset_key, one.config.settings.as_trained)


def _trained(subset_key: str, settings: TrialSettings) -> tuple[str, TrialSettings]:
    """Return what is equal for configurations with equal results, however a subset is written."""
    return subset_key, settings.model_copy(update={"subset": "none"})


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
        causes = [end.reason for end in ends if end and end.status == "failed" and end.reason]
        raise StudyError(
            f"no trial of {folder.name} ran all its epochs, so there is nothing to test; "
            f"the last error was: {causes[-1] if causes else 'none'}"
        )
    chosen = choose_candidates(judged, config.search.baselines, config.confirm.runners_up)
    return study.choose(beside_earlier(study, chosen))


def extended_config(study: Study, overrides: Sequence[str]) -> StudyConfig:
    """Return the configuration of a study with more trials; nothing is written.

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
                "compare; extend takes search.trials, search.minutes, resources and tracking"
            )
        more = key == "search.trials" and adds and isinstance(value, int)
        put_value(values, key, now + value if more else value)
    extended = build_config(values, str(folder.config_path))
    if extended.search.trials <= now or not study.protocol().searches(config):
        raise ConfigError(
            f"study '{folder.name}' has search.trials={now}, which extend must raise, as by\n"
            f"  {extend_command(folder.path, 'search.trials=+50')}"
        )
    if extended.search.minutes and extended.search.minutes <= (config.search.minutes or 0):
        raise ConfigError(
            f"search.minutes: the search of '{folder.name}' had {config.search.minutes:g} minutes, "
            "which extend must raise as well, or lift by search.minutes=null"
        )
    return extended


def extend(study: Study, extended: StudyConfig) -> None:
    """Give a study the configuration of `extended_config`, and take its conclusions back.

    Only the study's files change; running the study then continues it as after an interruption.

    Args:
        study: the study, with its frozen configuration.
        extended: its configuration with more trials.
    """
    folder, now = study.folder, study.config.search.trials
    # The driver may die between any two of these writes. An entry counts only once the
    # configuration has that many trials; until then it may hold the only copy of the choice.
    chosen, written = folder.read_json(CANDIDATES), folder.read_json(FILE)
    if chosen is None and written and written[-1]["to"] > now:
        chosen = written[-1]["candidates"]
    entry = {"from": now, "to": extended.search.trials, "candidates": chosen}
    folder.write_json(FILE, [*extensions(study), entry])
    folder.take_back_conclusions()
    folder.write_config(dump_config(extended))


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
    # A label of the choice that nothing has now would else go on as if it were of the new choice.
    labels = {**dict.fromkeys(FURTHER), **{c.label: c.settings for c in chosen}}
    depths, regularizer = study.architecture().depths, study.config.training.regularizer

    def is_of(trial: TrialFolder, old: Candidate) -> bool:
        own = TrialSettings.model_validate(trial.read_config()["settings"])
        return own.resolved(depths, regularizer) == old.settings.resolved(depths, regularizer)

    kept: list[Candidate] = []
    confirmed: dict[TrialSettings, str] = {}  # what was tested → its label now
    tested = map(Candidate.model_validate, earlier[-1]["candidates"])
    for old in (candidate for candidate in tested if candidate.same_as is None):
        if labels.get(old.label, old.settings) != old.settings:
            name = f"{old.label}-of-{earlier[-1]['from']}"
            for trial in list(study.folder.trials()):  # some, if an earlier call was cut short
                seed = trial.read_config()["seed"]
                # One of other settings is of the new choice, which was lost and is made again.
                if trial.trial_id == f"confirm-{old.label}-seed{seed}" and is_of(trial, old):
                    trial.rename(f"confirm-{name}-seed{seed}", label=name, arm=name)
            old = old.model_copy(update={"label": name})
        if old.label not in labels:
            kept.append(old)
        confirmed[old.settings] = old.label

    def without_training_twice(candidate: Candidate) -> Candidate:
        label = confirmed.get(candidate.settings, candidate.same_as)
        return candidate.model_copy(update={"same_as": None if label == candidate.label else label})

    now = [*map(without_training_twice, chosen)]
    same = {candidate.label: candidate.same_as for candidate in now if candidate.same_as}
    direct = (c.model_copy(update={"same_as": same.get(c.same_as or "", c.same_as)}) for c in now)
    return [*direct, *kept]
