"""The choice of validation with its tests: the winner, if it beats chance."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple, Self

from study.config.labels import WITH_DELTA
from study.config.schema import StudyConfig
from study.results.chance import (
    BALANCED,
    AgainstChance,
    balanced_chance,
    balanced_score,
    read_against_chance,
)
from study.storage.ledger_files import JsonObject
from study.storage.trial_folder import TrialFolder
from study.trial.predictions import beats_chance, confusion_of, read_predictions
from study.trial.study import Candidate, Study, best_candidate, candidate_of_label

EXTENSIONS = "extensions.json"
"""A list of extensions: numbers of trials ``from`` and ``to``, and the ``candidates`` and the id of
the trial of the ``final`` model before it."""
TEST_BALANCED = f"test_{BALANCED}"
"""The name of the balanced score among test scores."""


def final_candidate(candidates: Sequence[Candidate] | None) -> Candidate | None:
    """Return the candidate that the final model is of; None if there is none.

    It is the best by validation that can be written as a delta.
    """
    return candidate_of_label(candidates, WITH_DELTA) or best_candidate(candidates)


def final_trial_id(config: StudyConfig, candidate: Candidate | None) -> str | None:
    """Return the id of the trial that trains a candidate as the final model.

    Returns:
        None if there is no such trial: without a candidate, with ``final.images`` as ``shots``, or
        where the candidate trains nothing.
    """
    if not candidate or config.final.images == "shots":
        return None
    if candidate.settings.subset == "none" and not candidate.settings.is_peer:
        return None
    _, _, source = str(candidate.source_trial).partition("-")
    return f"final-{config.final.images}-{source}"


def is_outdated_final(study: Study, trial_id: str) -> bool:
    """Return whether a trial is of a final model that the study does not plan any more."""
    planned = final_trial_id(study.config, final_candidate(study.candidates()))
    return trial_id.startswith("final-") and trial_id != planned


class ChosenConfiguration(NamedTuple):
    """A configuration that validation chose, and its tests so far."""

    candidate: Candidate
    trials: Sequence[TrialFolder]
    """Its finished tests, in the order of ``test.seeds``."""
    chance: float | None
    """The balanced test score of guessing, a fraction; None while it is unknown."""
    test_scores: Mapping[str, float]
    """The test scores, means over the seeds, as fractions; empty while nothing is tested."""
    against_chance: AgainstChance | None = None
    """How it compares with chance; None while that is unknown."""
    final: TrialFolder | None = None
    """The finished trial that trained it as the final model; None if there is none."""

    @classmethod
    def read(cls, study: Study) -> Self | None:
        """Return the choice that is best by validation; None if there is none yet."""
        return cls._of(study, best_candidate(study.candidates()))

    @classmethod
    def read_final(cls, study: Study) -> Self | None:
        """Return the choice for the final model, see `final_candidate`; None if there is none."""
        return cls._of(study, final_candidate(study.candidates()))

    @classmethod
    def _of(cls, study: Study, candidate: Candidate | None) -> Self | None:
        if not candidate:
            return None
        head = candidate.settings.head
        seeds = study.config.test.seeds
        names = [f"test-{candidate.training}-seed{seed}" for seed in seeds]
        finished = [trial for trial in map(study.folder.trial, names) if trial.has_finished()]
        final = None
        trial_id = final_trial_id(study.config, candidate)
        if trial_id and study.folder.trial(trial_id).has_finished():
            final = study.folder.trial(trial_id)
        scores = defaultdict(list)
        chance = None
        for trial in finished:
            confusion = confusion_of(read_predictions(study.folder, trial.trial_id, head))
            balanced = balanced_score(confusion, study.protocol)
            if balanced is not None:
                scores[TEST_BALANCED].append(balanced)
            if not chance:
                chance = balanced_chance(confusion, study.protocol)
            for report in trial.read_reports()[-1:]:
                for name, score in report["scores"][head].items():
                    scores[f"test_{name}"].append(score)
        return cls(
            candidate=candidate,
            trials=finished,
            chance=chance,
            test_scores={name: fmean(values) for name, values in scores.items()},
            against_chance=read_against_chance(study.folder, candidate.label),
            final=final,
        )

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
        """Whether the balanced test score is known to be no better than guessing."""
        score = self.test_scores.get(TEST_BALANCED)
        return score is not None and not beats_chance(score, self.chance)

    @property
    def is_winner(self) -> bool:
        """Whether the choice is tested and not known to be at chance."""
        return bool(self.trials) and not self.at_chance


def winners(study: Study) -> set[str]:
    """Return the ids of the chosen trial and its tests; none if it is at chance."""
    choice = ChosenConfiguration.read(study)
    if not choice or choice.at_chance:
        return set()
    ids = {trial.trial_id for trial in choice.trials}
    ids.add(str(choice.candidate.source_trial))
    return ids


def extensions(study: Study) -> list[JsonObject]:
    """Return the completed extensions of a study, oldest first."""
    written = study.folder.read_json(EXTENSIONS) or []
    return [entry for entry in written if entry["to"] <= study.config.search.trials]


def final_trial(study: Study) -> TrialFolder | None:
    """Return the trial of a study's final model; while it is extended, that of before.

    None if there is none, as in a study that has not been finished yet.
    """
    if study.folder.is_complete():
        choice = ChosenConfiguration.read_final(study)
        return choice.model_trial if choice and choice.is_winner else None
    completed = extensions(study)
    if not completed or completed[-1]["final"] is None:
        return None
    return study.folder.trial(completed[-1]["final"])
