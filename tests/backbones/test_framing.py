"""How images are brought to their size, against transformers' own processors."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers import CLIPImageProcessorPil

from study.backbones.description import read_architecture
from study.backbones.framing import CLIP_FRAMING, Framing, read_framing
from study.backbones.hub import PREPROCESSING
from study.backbones.load_backbone import load_backbone
from study.data.images.decode import preprocess
from study.errors import BackboneError
from study.storage.result_folder import JsonObject

SQUARE = {"height": 16, "width": 16}
SHORTER = {"shortest_edge": 16}


@pytest.mark.parametrize(
    "values, framing",
    [
        ({}, CLIP_FRAMING),
        ({"size": 16, "crop_size": 16, "resample": 3}, CLIP_FRAMING),
        ({"size": SHORTER, "do_center_crop": None, "rescale_factor": 0.00392157}, CLIP_FRAMING),
        ({"resample": 2}, Framing(interpolation="bilinear")),
        ({"size": SQUARE}, Framing(squash=True)),
        ({"size": SQUARE, "do_center_crop": False, "resample": 2}, Framing(True, "bilinear")),
    ],
)
def test_images_are_those_of_the_processor_that_a_checkpoint_describes(
    values: JsonObject, framing: Framing
):
    assert read_framing(values, 16, default=CLIP_FRAMING) == framing
    noise = np.random.default_rng(1).integers(0, 256, (20, 28, 3), np.uint8)
    image = Image.fromarray(noise).resize((56, 40), Image.Resampling.BICUBIC)
    given = {key: value for key, value in values.items() if value is not None}
    own = CLIPImageProcessorPil(
        **{"size": SHORTER, "crop_size": SQUARE, **given}, do_normalize=False
    )
    theirs = own(image, return_tensors="np")["pixel_values"][0]
    ours = preprocess(image, size=16, keep_aspect=False, framing=framing)
    assert np.array_equal(ours, (255 * theirs).round().transpose(1, 2, 0))


@pytest.mark.parametrize(
    "values, fault",
    [
        ({"do_resize": False}, "do_resize is False; expected True"),
        ({"rescale_factor": 1}, "rescale_factor is 1; expected 0.0039"),
        ({"size": 36}, "size is {'shortest_edge': 36}; expected {'shortest_edge': 16} or "),
        ({"size": {"height": 16, "width": 48}}, "'width': 48"),
        ({"crop_size": 24}, "crop_size is 24; expected {'height': 16, 'width': 16}"),
        ({"size": SHORTER, "do_center_crop": False}, "do_center_crop is false"),
        ({"resample": 0}, r"resample is 0; expected 2 \(bilinear\) or 3 \(bicubic\)"),
    ],
)
def test_what_is_prepared_otherwise_is_refused(values: JsonObject, fault: str):
    with pytest.raises(ValueError, match=fault):
        read_framing(values, 16, default=CLIP_FRAMING)


@pytest.mark.parametrize("file", PREPROCESSING)
def test_a_checkpoint_is_read_as_its_file_describes_or_refused(checkpoint: Path, file: str):
    path = (checkpoint / "preprocessor_config.json").rename(checkpoint / file)
    values = json.loads(path.read_text())

    def write(**changes: object):
        own = values | changes
        path.write_text(json.dumps(own if file == PREPROCESSING[0] else {"image_processor": own}))

    write(size=SQUARE, do_center_crop=False, resample=2)
    assert read_architecture(checkpoint).framing == Framing(True, "bilinear")
    assert load_backbone(checkpoint).framing == Framing(True, "bilinear")
    write(size={"shortest_edge": 36})
    with pytest.raises(BackboneError, match=rf"{file}: size is {{'shortest_edge': 36}}; expected"):
        read_architecture(checkpoint)
    path.write_text("[]")
    with pytest.raises(BackboneError, match=rf"unsupported way \({file}: "):
        load_backbone(checkpoint)
