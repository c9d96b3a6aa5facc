"""The configuration that validation chose; it is the winner if it beats chance on test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from study.storage.ledger import TrialFolder
from study.trial.predictions import beats_chance, chance_level, read_confusion
from study.trial.study import Candidate, Study, best_of


@dataclass(frozen=True)
class Choice:
    """The best configuration by validation, and its confirmations so far."""

    candidate: Candidate
    trials: Sequence[TrialFolder]
    """Its finished confirmations, in the order of ``confirm.seeds``."""
    chance: float | None
    """The test score of guessing, a fraction; None while it is unknown."""
    test_scores: Mapping[str, float]
    """The test scores, means over the seeds, as fractions; empty while nothing is confirmed."""

    @classmethod
    def read(cls, study: Study) -> Choice | None:
        """Return the choice of a study; None if it has made none yet."""
        best, config, folder = best_of(study.candidates()), study.config, study.folder
        if best is None:
            return None
        label = best.same_as or best.label
        trials = [folder.trial(f"confirm-{label}-seed{seed}") for seed in config.confirm.seeds]
        finished = [
            t for t in trials if (end := t.read_end()) is not None and end.status == "finished"
        ]
        matrices = (read_confusion(folder, trial.trial_id) for trial in finished)
        levels = (chance_level(matrix, study.protocol()) for matrix in matrices)
        finals = [reports[-1] for trial in finished if (reports := trial.read_reports())]
        names = [name for name in (finals or [{}])[0] if name.startswith("test_")]
        return cls(
            candidate=best,
            trials=finished,
            chance=next((level for level in levels if level is not None), None),
            test_scores={name: fmean(final[name] for final in finals) for name in names},
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
