"""What validation chose, with its confirmations on test: the winner, if it beats chance."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Self

from study.storage.ledger import TrialFolder
from study.trial.predictions import beats_chance, chance_level, read_confusion
from study.trial.study import Candidate, Study, best_of


@dataclass(frozen=True)
class Choice:
    """A configuration that validation chose, and its confirmations so far."""

    candidate: Candidate
    trials: Sequence[TrialFolder]
    """Its finished confirmations, in the order of ``confirm.seeds``."""
    chance: float | None
    """The test score of guessing, a fraction; None while it is unknown."""
    test_scores: Mapping[str, float]
    """The test scores, means over the seeds, as fractions; empty while nothing is confirmed."""

    @classmethod
    def read(
        cls,
        study: Study,
        among: Callable[[Sequence[Candidate] | None], Candidate | None] = best_of,
    ) -> Self | None:
        """Return a choice of a study, by default its best; None if there is none yet."""
        if (found := among(study.candidates())) is None:
            return None
        trials = [
            study.folder.trial(f"confirm-{found.same_as or found.label}-seed{seed}")
            for seed in study.config.confirm.seeds
        ]
        finished = [t for t in trials if (end := t.read_end()) and end.status == "finished"]
        levels = (
            chance_level(read_confusion(study.folder, trial.trial_id), study.protocol())
            for trial in finished
        )
        finals = [reports[-1] for trial in finished if (reports := trial.read_reports())]
        return cls(
            candidate=found,
            trials=finished,
            chance=next((level for level in levels if level is not None), None),
            test_scores={
                name: fmean(final[name] for final in finals)
                for name in (finals or [{}])[0]
                if name.startswith("test_")
            },
        )

    @property
    def at_chance(self) -> bool:
        """Whether the test score is known to be no better than guessing."""
        score = self.test_scores.get("test_score")
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
