"""A key of how images are read, here whether photographs are turned: a field, a key, its use."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image
from safetensors import safe_open

FIELD = """    upright: bool = field(default=True, metadata={CHECK: bool})
    \"\"\"Whether photographs are turned as their orientation tag says.\"\"\""""
KEY = """    upright: bool = True
    \"\"\"Whether photographs are turned as their orientation tag says.\"\"\""""
BEFORE = '    on_corrupt: OnCorrupt = "fail"'
USE = """    if not reading.upright:
        image.getexif()[ExifTags.Base.Orientation] = 1"""
ROWS = (
    ("config/schema.py", BEFORE, KEY),
    ("data/images/rgb.py", "    rgb.getexif()[ExifTags.Base.Orientation] = ", USE),
)
PREDICT = """
import sys
from pathlib import Path
from study.serving.classifier import load_classifier
delta, image = sys.argv[1:]
turned = load_classifier(Path(delta), upright=True).read_pixels(image)
as_it_is = load_classifier(Path(delta)).read_pixels(image)
print((turned == as_it_is).all(), (turned == as_it_is[::-1, ::-1]).all())
"""


@pytest.mark.long
def test_it_reaches_caches_deltas_and_predictions(edited: Any, python: Any, tmp_path: Path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3  # by half a turn
    generator = np.random.default_rng(1)
    for name in ("cat", "dog"):
        folder = tmp_path / "images" / name
        folder.mkdir(parents=True)
        for number in range(20):
            pixels = generator.integers(0, 256, (16, 16, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png", exif=exif)
    own = ("data.dataset=pets", f"data.root={tmp_path / 'images'}", "data.augment=false")
    edited("data/images/image_reading.py", BEFORE, FIELD, *own, "data.upright=false", more=ROWS)
    trials = tmp_path / "runs" / "mine" / "trials"
    delta, *_ = sorted(trials.glob("*/delta.safetensors"))
    with safe_open(delta, "pt") as file:
        assert '"pixel_range": null, "upright": false}' in file.metadata()["info"]
    printed = python("-c", PREDICT, delta, tmp_path / "images/cat/0.png")
    assert printed.split() == ["False", "True"]
