"""The best configuration by validation with its tests, known without reading the whole study."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from study.config.labels import TUNED, WITH_DELTA
from study.config.schema import StudyConfig
from study.results.chance import ChanceComparison
from study.storage.result_folder import JsonObject
from study.storage.study_folder import CHANCE
from study.storage.trial_folder import TrialFolder
from study.trial.predictions import BALANCED
from study.trial.study import Candidate, Study, best_candidate, candidate_of_label

EXTENSIONS = "extensions.json"
"""A list of extensions: numbers of trials ``from`` and ``to``, and the ``candidates`` and the id of
the trial of the ``final`` model before it."""


def final_candidate(candidates: Sequence[Candidate] | None) -> Candidate | None:
    """Return the candidate that the final model is of; None if there is none.

    It is the best by validation that can be saved as a delta.
    """
    return candidate_of_label(candidates, WITH_DELTA) or best_candidate(candidates)


def best_other_method(candidates: Sequence[Candidate]) -> str | None:
    """Return the label of the best other method by validation; None if none has a score.

    Other methods are all that tune no subset: LoRA and the like, a linear classifier on frozen
    CLIP, and CLIP as it is.
    """
    others = [one for one in candidates if one.settings.subset == "none"]
    ranked = [(one.val_score, one.label) for one in others if one.val_score is not None]
    return max(ranked, key=lambda pair: pair[0])[1] if ranked else None


def planned_rivals(candidates: Sequence[Candidate]) -> list[str]:
    """Return the labels of what the best candidate is compared with, as fixed beforehand.

    They are tuned CLIPFit, and the best other method.
    """
    return [label for label in (TUNED, best_other_method(candidates)) if label]


def final_trial_id(config: StudyConfig, candidate: Candidate | None) -> str | None:
    """Return the id of the trial that trains a candidate as the final model.

    Returns:
        None if there is no such trial: without a candidate, with ``final.images`` as ``shots``, or
        where the candidate trains nothing.
    """
    if not candidate or config.final.images == "shots":
        return None
    if candidate.settings.subset == "none" and not candidate.settings.is_other_method:
        return None
    _, _, source = str(candidate.source_trial).partition("-")
    return f"final-{config.final.images}-{source}"


class BestConfiguration(NamedTuple):
    """The best configuration by validation, or that of the final model, and its tests so far."""

    candidate: Candidate
    trials: Sequence[TrialFolder]
    """Its finished tests, in the order of ``test.seeds``."""
    test_scores: Mapping[str, float]
    """The test scores, means over the seeds, as fractions; empty while nothing is tested."""
    against_chance: ChanceComparison | None = None
    """How it compares with chance; None before the study has ended, or without predictions."""
    final: TrialFolder | None = None
    """The finished trial that trained it as the final model; None if there is none."""

    @property
    def model_trial(self) -> TrialFolder:
        """The trial whose model is used, once `trials` has one: the final one, or the first."""
        return self.final or self.trials[0]

    @property
    def model_scores(self) -> Mapping[str, float]:
        """The test scores of the model: of the final training alone, or `test_scores`."""
        if not self.final:
            return self.test_scores
        report = self.final.read_reports()[-1]
        return {name: score for name, score in report.items() if name.startswith("test_")}

    @property
    def at_chance(self) -> bool:
        """Whether its balanced test score is known to be no better than guessing."""
        return self.against_chance is not None and not self.against_chance.above


def read_best(study: Study) -> BestConfiguration | None:
    """Return the best configuration by validation, whether it beats chance; None before it."""
    return _read(study, best_candidate(study.candidates()))


def read_final(study: Study) -> BestConfiguration | None:
    """Return the configuration of the final model, see `final_candidate`; None if there is none."""
    return _read(study, final_candidate(study.candidates()))


def _read(study: Study, candidate: Candidate | None) -> BestConfiguration | None:
    if not candidate:
        return None
    names = [f"test-{candidate.training}-seed{seed}" for seed in study.config.test.seeds]
    finished = [trial for trial in map(study.folder.trial, names) if trial.has_finished()]
    trial_id = final_trial_id(study.config, candidate)
    final = study.folder.trial(trial_id) if trial_id else None
    scores = defaultdict(list)
    for trial in finished:
        for report in trial.read_reports()[-1:]:
            for name, score in report["scores"][candidate.settings.head].items():
                scores[f"test_{name}"].append(score)
    means = {name: fmean(values) for name, values in scores.items()}
    known = (study.folder.read_json(CHANCE) or {}).get(candidate.label)
    against_chance = ChanceComparison(**known) if known else None
    if against_chance:
        means[f"test_{BALANCED}"] = against_chance.balanced
    return BestConfiguration(
        candidate=candidate,
        trials=finished,
        test_scores=means,
        against_chance=against_chance,
        final=final if final and final.has_finished() else None,
    )


def best_trial_ids(study: Study) -> set[str]:
    """Return the ids of the best search trial and its tests; none if it is at chance."""
    best = read_best(study)
    if not best or best.at_chance:
        return set()
    return {str(best.candidate.source_trial), *(trial.trial_id for trial in best.trials)}


def extensions(study: Study) -> list[JsonObject]:
    """Return the completed extensions of a study, oldest first."""
    written = study.folder.read_json(EXTENSIONS) or []
    return [entry for entry in written if entry["to"] <= study.config.search.trials]


def final_trial(study: Study) -> TrialFolder | None:
    """Return the trial of a study's final model; while it is extended, that of before.

    None if there is none, as in a study that has not been finished yet.
    """
    if study.folder.is_complete():
        own = read_final(study)
        return own.model_trial if own and own.trials and not own.at_chance else None
    completed = extensions(study)
    if not completed or completed[-1]["final"] is None:
        return None
    return study.folder.trial(completed[-1]["final"])
