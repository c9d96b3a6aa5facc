"""A subset has the share of its tensors in what all tensors of a model could gain."""

from pathlib import Path

import pytest

from study.backbones.architecture import Depths
from study.results.sensitivity import Sensitivities, read_sensitivities
from study.storage.study_folder import SENSITIVITY, StudyFolder
from tests.not_none import not_none

TENSORS = {"text.attn.q.bias[0]": 1.0, "text.attn.q.bias[1]": 2.0, "text.ln_final.bias": 5.0}


def test_a_subset_has_the_share_of_its_tensors(tmp_path: Path):
    folder = StudyFolder(tmp_path)
    assert read_sensitivities(folder) is None
    folder.write_json(SENSITIVITY, {"depths": Depths(2, 3), "tensors": TENSORS})
    read = not_none(read_sensitivities(folder))
    subsets = ("text.attn.q.bias", "text.attn.q.bias[-1:] + text.ln_final.bias", "none")
    assert [read.share(subset) for subset in subsets] == pytest.approx([3 / 8, 7 / 8, 0])
    assert Sensitivities(Depths(2, 3), dict.fromkeys(TENSORS, 0.0)).share("none") is None
