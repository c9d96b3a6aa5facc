"""How images are brought to their size, against transformers' own processors."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers import CLIPImageProcessorPil

from study.backbones.description import read_architecture
from study.backbones.framing import CLIP_FRAMING, SIGLIP_FRAMING, Framing, read_framing
from study.backbones.hub import PREPROCESSING, Source
from study.backbones.load_backbone import load_backbone
from study.data.images.decode import preprocess
from study.embedded import EMBEDDED, backbone_path
from study.errors import BackboneError
from study.storage.result_folder import JsonObject

SQUARE = {"height": 32, "width": 32}
SHORTER = {"shortest_edge": 32}


@pytest.mark.parametrize(
    "values, framing",
    [
        ({}, CLIP_FRAMING),
        ({"size": 32, "crop_size": 32, "resample": 3}, CLIP_FRAMING),
        ({"size": SHORTER, "crop_size": SQUARE}, CLIP_FRAMING),
        ({"size": SHORTER, "do_center_crop": None, "rescale_factor": 0.00392157}, CLIP_FRAMING),
        ({"resample": 2}, Framing(interpolation="bilinear")),
        ({"size": SQUARE}, Framing(squash=True)),
        ({"size": SQUARE, "do_center_crop": False, "resample": 2}, Framing(True, "bilinear")),
    ],
)
def test_images_are_those_of_the_processor_that_a_checkpoint_describes(
    values: JsonObject, framing: Framing
):
    assert read_framing(values, 32, default=CLIP_FRAMING) == framing
    noise = np.random.default_rng(1).integers(0, 256, (40, 56, 3), np.uint8)
    image = Image.fromarray(noise).resize((112, 80), Image.Resampling.BICUBIC)
    given = {key: value for key, value in values.items() if value is not None}
    own = CLIPImageProcessorPil(
        **{"size": SHORTER, "crop_size": SQUARE, **given}, do_normalize=False
    )
    theirs = own(image, return_tensors="np")["pixel_values"][0]
    ours = preprocess(image, size=32, keep_aspect=False, framing=framing)
    assert np.array_equal(ours, (255 * theirs).round().transpose(1, 2, 0))


def test_a_siglip_is_squashed():
    for values in ({}, {"size": SQUARE}, {"size": SQUARE, "resample": 3}):
        assert read_framing(values, 32, default=SIGLIP_FRAMING) == SIGLIP_FRAMING
    with pytest.raises(ValueError, match="do_center_crop is false with size"):
        read_framing({"size": 32}, 32, default=SIGLIP_FRAMING)


@pytest.mark.parametrize(
    "values, fault",
    [
        ({"do_resize": False}, "do_resize is False; expected True"),
        ({"do_normalize": False}, "do_normalize is False"),
        ({"rescale_factor": 1}, "rescale_factor is 1; expected 0.0039"),
        ({"size": 36}, "size is {'shortest_edge': 36}; expected {'shortest_edge': 32} or "),
        ({"size": {"height": 32, "width": 48}}, "'width': 48"),
        ({"crop_size": 24}, "crop_size is 24; expected {'height': 32, 'width': 32}"),
        ({"size": SHORTER, "do_center_crop": False}, "do_center_crop is false"),
        ({"resample": 0}, r"resample is 0; expected 2 \(bilinear\) or 3 \(bicubic\)"),
    ],
)
def test_what_is_prepared_otherwise_is_refused(values: JsonObject, fault: str):
    with pytest.raises(ValueError, match=fault):
        read_framing(values, 32, default=CLIP_FRAMING)


@pytest.mark.parametrize("file", PREPROCESSING)
def test_a_checkpoint_is_read_as_its_file_describes_or_refused(tmp_path: Path, file: str):
    folder = Path(shutil.copytree(backbone_path(EMBEDDED), tmp_path / "mine"))
    values = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()

    def write(**changes: Any):
        own = {**values, **changes}
        if file == "processor_config.json":
            own = {"image_processor": own, "processor_class": "CLIPProcessor"}
        (folder / file).write_text(json.dumps(own))

    assert not Source(folder).find(*PREPROCESSING)
    write(size=SQUARE, do_center_crop=False, resample=2)
    assert read_architecture(folder).framing == Framing(True, "bilinear")
    assert load_backbone(folder).framing == Framing(True, "bilinear")
    write(size={"shortest_edge": 36})
    with pytest.raises(BackboneError, match=rf"{file}: size is {{'shortest_edge': 36}}; expected"):
        read_architecture(folder)
    (folder / file).write_text("[]")
    with pytest.raises(BackboneError, match=rf"unsupported way \({file}: "):
        load_backbone(folder)
