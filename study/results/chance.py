"""The test score of guessing, and whether a configuration is known to score higher.

Accuracy says little where classes differ in size: of 90 and 10 images, a model that always answers
with the larger class is right in 90 %. So the balanced accuracy decides, which is the mean recall
of the classes. Guessing among C classes scores 1/C by it, whatever their sizes. Parts of a test,
such as base and new classes, are balanced one by one, and the protocol makes a score of them.
"""

from collections import defaultdict
from dataclasses import dataclass

from study.protocols import Protocol
from study.trial.predictions import Confusion, beats_chance, images_of, mean


def balanced_scores(confusion: Confusion, protocol: Protocol) -> tuple[float, float] | None:
    """Return a trial's test score by the mean recall of the classes of each part, and chance.

    Args:
        confusion: the result of `study.trial.predictions.confusion_of` for the trial.
        protocol: the study's protocol, which makes a score of the parts.

    Returns:
        The score and that of guessing, which is 1/C for C classes with test images, as fractions;
        None if the trial kept no counts.
    """
    recalls = defaultdict(list)
    for (part, label), images in images_of(confusion).items():
        recalls[part].append(confusion[part, label, label] / images)
    if not recalls:
        return None
    # Every class counts alike.
    chances = protocol.chance({part: [1] * len(values) for part, values in recalls.items()})
    score = protocol.score({part: mean(sorted(values)) for part, values in recalls.items()})
    guess = protocol.score({part: mean([chance]) for part, chance in chances.items()})
    return score["score"], guess["score"]


@dataclass(frozen=True)
class ChanceComparison:
    """The test score of a configuration beside that of guessing; scores are fractions."""

    balanced: float
    """The mean over seeds of the balanced test score."""
    chance: float
    """The balanced score of guessing."""
    images: int
    """The number of different test images."""
    low: float | None
    """The lower end of the 95 % interval of `balanced`; None where there is no interval."""

    @property
    def above(self) -> bool:
        """Whether the mean is above chance, without which nothing wins."""
        return beats_chance(self.balanced, self.chance)

    @property
    def is_proven(self) -> bool:
        """Whether all of the interval is above chance."""
        return self.low is not None and beats_chance(self.low, self.chance)

    @property
    def caveat(self) -> str:
        """The remark on a configuration whose interval is not all above chance."""
        return (
            f"not significantly better than chance: on {self.images:,} test images, its balanced "
            f"score is {100 * self.balanced:.1f} %; chance is {100 * self.chance:.1f} %"
        )
