"""What guessing scores on test, and whether a configuration is known to do better.

A score by accuracy says little where classes differ in size: whoever always names the largest of
90 and 10 images is right in 90 %. So what decides is the balanced accuracy, the mean recall of the
classes, in which guessing among C classes comes to 1/C whatever their sizes. Parts of a test, such
as base and new classes, are balanced one by one, and make up a score as the protocol has it.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass

from study.protocols import Protocol
from study.storage.study_folder import CHANCE, StudyFolder
from study.trial.predictions import Confusion, beats_chance, chance_level, images_of, mean

BALANCED = "balanced"
"""The name of the score of balanced accuracies, beside those of a protocol."""


def balanced_score(confusion: Confusion, protocol: Protocol) -> float | None:
    """Return a trial's test score if each part is the mean recall of its classes, a fraction.

    Args:
        confusion: what `study.trial.predictions.confusion_of` returned of the trial.
        protocol: the study's protocol, which makes a score of the parts.

    Returns:
        None when the trial kept no counts.
    """
    recalls: dict[str, list[float]] = defaultdict(list)
    for (part, label), images in images_of(confusion).items():
        recalls[part].append(confusion[part, label, label] / images)
    if not recalls:
        return None
    parts = {part: mean(sorted(own)) for part, own in recalls.items()}
    return protocol.score(parts)["score"]


def balanced_chance(confusion: Confusion, protocol: Protocol) -> float | None:
    """Return the balanced score of guessing, a fraction: 1/C for C classes with test images.

    Arguments and None are those of `balanced_score`.
    """
    one_of_each = Counter({(part, label, label): 1 for part, label in images_of(confusion)})
    return chance_level(one_of_each, protocol)


@dataclass(frozen=True)
class AgainstChance:
    """What a tested configuration scores beside chance; scores are fractions."""

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
    def shown(self) -> bool:
        """Whether all of the interval is above chance."""
        return self.low is not None and beats_chance(self.low, self.chance)

    @property
    def doubt(self) -> str:
        """What is said of a configuration that is above chance without being shown to be."""
        return f"not shown to beat chance with {self.images:,} test images"


def read_against_chance(folder: StudyFolder, label: str) -> AgainstChance | None:
    """Return what a study found of a candidate beside chance.

    Args:
        folder: the study's folder.
        label: the label under which the candidate was trained.

    Returns:
        None if it is not known, since the study has not come to its end or its trials kept no
        predictions.

    Raises:
        LedgerError: the file is damaged.
    """
    written = folder.read_json(CHANCE) or {}
    if label not in written:
        return None
    return AgainstChance(**written[label])


def write_against_chance(folder: StudyFolder, known: dict[str, AgainstChance]) -> None:
    """Write what a study found of its candidates beside chance, by label."""
    folder.write_json(CHANCE, known)
