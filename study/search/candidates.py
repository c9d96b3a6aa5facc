"""The configurations to test, chosen by validation before the test split is read.

A study that is extended gets new candidates beside the earlier ones, see `with_earlier_candidates`.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from study.config.labels import BASELINE, PUBLISHED, RANKS, TUNED, WITH_DELTA
from study.config.trial_settings import TrialSettings
from study.errors import StudyError
from study.method.subsets import parse
from study.results.best_configuration import extensions
from study.storage.atomic import sha256_of
from study.storage.result_folder import JsonObject
from study.storage.study_folder import StudyFolder
from study.trial.study import Candidate, Study, TrialConfig


@dataclass(frozen=True)
class FinishedTrial:
    """A trial that completed all its epochs."""

    config: TrialConfig
    val_score: float
    """The validation score after the last, a fraction, by which trials are ranked."""
    report: JsonObject = field(default_factory=dict)
    """The last report."""

    @property
    def sort_key(self) -> tuple[float, int, int]:
        """The key by which the best is first: of equal scores fewer values, then the earlier."""
        return -self.val_score, self.config.trainable, self.config.number

    @property
    def settings(self) -> TrialSettings:
        """The settings to test: those of the trial, with the head that validation chose for it."""
        return self.config.settings.with_reported_head(self.report)


def rank_finished_trials(folder: StudyFolder) -> list[FinishedTrial]:
    """Return the trials of the search that completed all their epochs, best first."""
    finished = []
    for trial, config in folder.trials_of("search"):
        if not trial.has_finished():
            continue
        for report in trial.read_reports()[-1:]:
            finished.append(
                FinishedTrial(TrialConfig.model_validate(config), report["val_score"], report)
            )
    return sorted(finished, key=lambda trial: trial.sort_key)


def choose_candidates(
    finished: Sequence[FinishedTrial], baselines: Iterable[str], runners_up: int
) -> dict[str, FinishedTrial]:
    """Return the trials whose configurations are tested, by label.

    They are the baselines, of a method whose rate is searched the best; tuned CLIPFit; the best of
    all and the runners-up; and the best that writes a delta, if the best of all writes none. A
    baseline can be the best too. Tuned CLIPFit is the best of CLIPFit's own search and the baseline
    ``clipfit``, which has the published rates.

    Args:
        finished: the finished trials, best first.
        baselines: the labels of the baselines.
        runners_up: the number of configurations to test after the best.
    """

    def best(group: str, baseline: str) -> FinishedTrial | None:
        for trial in finished:
            of_baseline = trial.config.group == BASELINE and trial.config.label == baseline
            if of_baseline or trial.config.group == group:
                return trial
        return None

    found = {label: best(label, label) for label in baselines}
    found[TUNED] = best(TUNED, PUBLISHED)
    found |= zip(RANKS[: 1 + runners_up], finished, strict=False)
    if not finished[0].settings.writes_delta:
        found[WITH_DELTA] = next((one for one in finished if one.settings.writes_delta), None)
    return {label: trial for label, trial in found.items() if trial}


def read_or_choose_candidates(study: Study) -> tuple[Candidate, ...]:
    """Return the candidates of a study; the first call chooses and writes them.

    They are chosen by validation, and those that were tested before the search was extended stay
    beside them. Without a search they are the baselines.

    Raises:
        StudyError: no trial completed all its epochs.
    """
    written = study.candidates()
    if written is not None:
        return written
    config, folder, protocol = study.config, study.folder, study.protocol
    if not protocol.searches(config):
        return study.write_candidates(
            make_candidate(study, label, settings)
            for label, settings in protocol.fixed_settings(config).items()
        )
    finished = rank_finished_trials(folder)
    if not finished:
        ends = [trial.read_end() for trial in folder.trials()]
        errors = [end.reason for end in ends if end and end.status == "failed" and end.reason]
        raise StudyError(
            f"no trial of study '{folder.name}' ran all its epochs, so nothing can be tested; "
            f"last error: {errors[-1] if errors else 'none'}"
        )
    chosen = choose_candidates(finished, config.search.baselines, config.test.runners_up)
    candidates = [make_candidate(study, label, one.settings, one) for label, one in chosen.items()]
    return study.write_candidates(with_earlier_candidates(study, candidates))


def make_candidate(
    study: Study, label: str, settings: TrialSettings, source: FinishedTrial | None = None
) -> Candidate:
    """Return a configuration to test, with the hash of its training.

    Args:
        study: the study.
        label: the label of the candidate.
        settings: its settings, with the head that it is used with.
        source: the trial of the search that it comes from; None if nothing was searched.
    """
    return Candidate(
        label=label,
        settings=settings,
        training=training_hash(study, settings),
        val_score=source.val_score if source else None,
        source_trial=source.config.trial_id if source else None,
        search_trials=study.config.search.trials if source else 0,
    )


def training_hash(study: Study, settings: TrialSettings) -> str:
    """Return a hash of a training, which names its trials.

    Neither the seed nor the head is a part of it, and nor is the code.

    Args:
        study: the study.
        settings: the settings of the training; those without an effect are left out.

    Returns:
        Twelve hexadecimal digits.
    """
    training = study.config.training
    subset, depths = parse(settings.subset), study.architecture.depths
    effective = settings.effective(subset.resolve(depths), training.regularizer)
    facts = {
        "subset": subset.key(depths),
        "settings": effective.model_dump(mode="json", exclude={"subset", "head"}),
        "epochs": training.epochs,
        "images": "shots",
    }
    return sha256_of(json.dumps(facts, sort_keys=True).encode())[:12]


def with_earlier_candidates(study: Study, chosen: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates chosen now, and those tested after an earlier, shorter search.

    An earlier candidate that is not chosen again is labelled as such.
    """
    candidates = {candidate.tested: candidate for candidate in chosen}
    earlier = []
    for entry in extensions(study):
        for values in entry["candidates"] or ():
            tested = Candidate.model_validate(values)
            if tested.tested not in candidates:
                candidates[tested.tested] = tested.as_earlier()
                earlier.append(candidates[tested.tested])
    return [*chosen, *earlier]
