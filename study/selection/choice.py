"""What validation chose, with its confirmations on test: the winner, if it beats chance."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Self

from study.selection.chance import (
    BALANCED,
    AgainstChance,
    balanced_chance,
    balanced_score,
    read_against_chance,
)
from study.storage.trial_folder import TrialFolder
from study.trial.predictions import beats_chance, confusion_of, read_predictions
from study.trial.study import Candidate, Study, best_candidate

TEST_BALANCED = f"test_{BALANCED}"
"""The name of the balanced score among test scores."""


@dataclass(frozen=True)
class Choice:
    """A configuration that validation chose, and its confirmations so far."""

    candidate: Candidate
    trials: Sequence[TrialFolder]
    """Its finished confirmations, in the order of ``confirm.seeds``."""
    chance: float | None
    """The balanced test score of guessing, a fraction; None while it is unknown."""
    test_scores: Mapping[str, float]
    """The test scores, means over the seeds, as fractions; empty while nothing is confirmed."""
    against_chance: AgainstChance | None = None
    """What the study has found of it beside chance; None while that is unknown."""

    @classmethod
    def read(
        cls,
        study: Study,
        among: Callable[[Sequence[Candidate] | None], Candidate | None] = best_candidate,
    ) -> Self | None:
        """Return a choice of a study, by default its best; None if there is none yet."""
        if (found := among(study.candidates())) is None:
            return None
        trials = [
            study.folder.trial(f"confirm-{found.same_as or found.label}-seed{seed}")
            for seed in study.config.confirm.seeds
        ]
        finished = [t for t in trials if (end := t.read_end()) and end.status == "finished"]
        scores = defaultdict[str, list[float]](list)
        chance = None
        for trial in finished:
            confusion = confusion_of(read_predictions(study.folder, trial.trial_id))
            balanced = balanced_score(confusion, study.protocol())
            chance = chance or balanced_chance(confusion, study.protocol())
            if balanced is not None:
                scores[TEST_BALANCED].append(balanced)
            for name, score in (trial.read_reports() or [{}])[-1].items():
                if name.startswith("test_"):
                    scores[name].append(score)
        return cls(
            candidate=found,
            trials=finished,
            chance=chance,
            test_scores={name: fmean(values) for name, values in scores.items()},
            against_chance=read_against_chance(study.folder, found.same_as or found.label),
        )

    @property
    def at_chance(self) -> bool:
        """Whether the balanced test score is known to be no better than guessing."""
        score = self.test_scores.get(TEST_BALANCED)
        return score is not None and not beats_chance(score, self.chance)

    @property
    def is_winner(self) -> bool:
        """Whether the choice is confirmed and not known to be at chance."""
        return bool(self.trials) and not self.at_chance


def winners(study: Study) -> set[str]:
    """Return the trial that validation chose and its confirmations; nothing if at chance."""
    choice = Choice.read(study)
    if choice is None or choice.at_chance:
        return set()
    return {str(choice.candidate.source_trial), *(trial.trial_id for trial in choice.trials)}
