"""A folder of OpenCLIP gives the tuned answers elsewhere, by OpenCLIP's own code."""

from pathlib import Path
from typing import Any

import pytest

from study.backbones.backbone import fingerprint
from study.backbones.load_backbone import load_backbone
from study.errors import BackboneError, DeltaError
from study.serving.exports.openclip import refuse_other_pooling
from tests.openclips import write_open_clip
from tests.siglips import save_siglip


@pytest.mark.long
def test_a_checkpoint_of_open_clip_comes_back_as_one(
    make_telling: Any,
    assert_tuned_answers: Any,
    tmp_path: Path,
):
    prepared = {"resize_mode": "squash", "interpolation": "bilinear", "mean": [0.4, 0.5, 0.6]}
    write_open_clip(tmp_path / "own", {"quick_gelu": True}, prepared)
    saved = make_telling("bitfit", tmp_path / "own")
    folder, _ = assert_tuned_answers(saved, "openclip")
    again, tuned = load_backbone(folder), saved.load_classifier().backbone
    assert again.fingerprint == fingerprint(tuned.clip)
    assert (again.framing, again.image_mean) == (tuned.framing, tuned.image_mean)


def test_what_open_clip_has_no_network_for_is_refused(
    make_delta: Any, exported: Any, tmp_path: Path
):
    with pytest.raises(BackboneError, match="no 'siglip' model"):
        exported(make_delta(folder=save_siglip(tmp_path / "siglip")), "openclip")


def test_a_tokenizer_whose_end_has_not_the_largest_id_is_refused(make_delta: Any):
    model = make_delta().load_classifier()
    refuse_other_pooling(model)
    model.backbone.clip.config.text_config.eos_token_id = 7
    with pytest.raises(DeltaError, match="the end of texts has id 7 of 0 to 652 here"):
        refuse_other_pooling(model)
    model.backbone.clip.config.text_config.eos_token_id = 2
    refuse_other_pooling(model)
