"""What the tests of the embedded checkpoint share: itself, and its record."""

import json
from pathlib import Path

import pytest

from study.backbones.backbone import Backbone
from study.backbones.load_backbone import load_backbone
from study.embedded import backbone_path
from study.storage.result_folder import JsonObject

FOLDER = Path(backbone_path("embedded"))


@pytest.fixture(scope="session")
def backbone() -> Backbone:
    return load_backbone(FOLDER)


@pytest.fixture(scope="session")
def recorded() -> JsonObject:
    return json.loads((FOLDER / "zero_shot.json").read_text("utf-8"))
