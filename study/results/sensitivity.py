"""What each tensor could gain by training, as it was measured before anything was trained."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from study.backbones.architecture import Depths
from study.method.subsets import parse
from study.storage.study_folder import SENSITIVITY, StudyFolder


class Sensitivities(NamedTuple):
    """The sensitivity of each tensor of a model; see `study.method.sensitivity`."""

    depths: Depths
    tensors: Mapping[str, float]
    """By the name of the tensor in the subset language, such as ``text.ln1.bias[0]``."""

    def share(self, subset: str) -> float | None:
        """Return the share of a subset in what all tensors could gain; None if that is nothing."""
        gains = [self.tensors[str(leaf)] for leaf in parse(subset).resolve(self.depths)]
        total = math.fsum(self.tensors.values())
        return math.fsum(gains) / total if total else None


def read_sensitivities(folder: StudyFolder) -> Sensitivities | None:
    """Return what a study measured; None if it measured nothing.

    Raises:
        LedgerError: the file is damaged.
    """
    values = folder.read_json(SENSITIVITY)
    if values is None:
        return None
    return Sensitivities(Depths(*values["depths"]), values["tensors"])
