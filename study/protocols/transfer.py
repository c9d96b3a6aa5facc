"""Transfer: one dataset is trained on, and others are tested."""

from collections.abc import Mapping
from typing import ClassVar

from study.protocols.few_shot import FewShot
from study.protocols.protocol import Targets


class Transfer(FewShot):
    """Learning from a few images of one dataset, the source, for other datasets."""

    name = "transfer"
    sentence = (
        "Transfer: a model learns from a few images of every class of one dataset, the "
        "source, and is scored by its mean accuracy on the test images of other datasets, each "
        "with the names of its own classes. Whatever is chosen is chosen on the source."
    )
    ablates = False
    targets: ClassVar[Targets] = "needed"
    counts_source: ClassVar[bool] = False
    """Whether the score is the mean over all datasets, and not over the targets alone."""

    def score(self, parts: Mapping[str, float]) -> dict[str, float]:
        """Return the accuracy by dataset and their mean; without targets, that of the source."""
        if parts.keys() == {"accuracy"}:
            return super().score(parts)
        named = {"source" if part == "accuracy" else part: parts[part] for part in parts}
        counted = [v for name, v in named.items() if self.counts_source or name != "source"]
        return {**named, "score": sum(counted) / len(counted)}
