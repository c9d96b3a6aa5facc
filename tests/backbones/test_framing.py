"""How images are brought to their size, against transformers' own processors."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
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
CASES = yaml.safe_load(Path(__file__).with_name("framing.yaml").read_text())


@pytest.fixture
def image() -> Image.Image:
    noise = np.random.default_rng(1).integers(0, 256, (40, 56, 3), np.uint8)
    return Image.fromarray(noise).resize((112, 80), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("values, framing", CASES["read"])
def test_images_are_those_of_the_processor_that_a_checkpoint_describes(
    values: JsonObject, framing: JsonObject, image: Image.Image
):
    read = read_framing(values, 32, default=CLIP_FRAMING)
    assert vars(read) == framing
    said = {key: value for key, value in values.items() if value is not None}
    own = CLIPImageProcessorPil(
        **{"size": {"shortest_edge": 32}, "crop_size": SQUARE, **said}, do_normalize=False
    )
    theirs = own(image, return_tensors="np")["pixel_values"][0]
    ours = preprocess(image, size=32, keep_aspect=False, framing=read)
    assert np.array_equal(ours, (255 * theirs).round().transpose(1, 2, 0))


@pytest.mark.parametrize("values", [{}, {"size": SQUARE}, {"size": SQUARE, "resample": 3}])
def test_a_siglip_is_squashed(values: JsonObject):
    assert read_framing(values, 32, default=SIGLIP_FRAMING) == SIGLIP_FRAMING
    with pytest.raises(ValueError, match="do_center_crop is false with size"):
        read_framing({"size": 32}, 32, default=SIGLIP_FRAMING)


@pytest.mark.parametrize("values, fault", CASES["refused"])
def test_what_is_prepared_otherwise_is_refused(values: JsonObject, fault: str):
    with pytest.raises(ValueError, match=fault):
        read_framing(values, 32, default=CLIP_FRAMING)


@pytest.mark.parametrize("file", ["preprocessor_config.json", "processor_config.json"])
def test_a_checkpoint_is_read_as_its_file_says_or_refused(tmp_path: Path, file: str):
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
    assert Source(folder).find(*PREPROCESSING)
    assert read_architecture(folder).framing == Framing(True, "bilinear")
    assert load_backbone(folder).framing == Framing(True, "bilinear")
    write(size={"shortest_edge": 36})
    with pytest.raises(BackboneError, match=rf"{file}: size is {{'shortest_edge': 36}}; allowed"):
        read_architecture(folder)
    (folder / file).write_text("[]")
    with pytest.raises(BackboneError, match=rf"not understood \({file}: "):
        load_backbone(folder)
