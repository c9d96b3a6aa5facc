"""What the tests of trials share: a small random CLIP, and the data of each way to judge."""

from dataclasses import replace
from pathlib import Path

import pytest

from study.backbones.backbone import Backbone
from study.backbones.load_backbone import load_backbone
from study.config.loading import build_config
from study.storage.result_folder import JsonObject
from study.storage.study_folder import StudyFolder
from study.trial.prepare import Preparer
from study.trial.study import Study, TrialData
from tests.trial.outcomes import Prepare

SETTINGS: dict[str, JsonObject] = {
    "holdout": {"data": {"augment": False, "shots": 4}, "search": {"selection": "holdout"}},
    "augmented": {"data": {"augment": True, "shots": 4}, "search": {"selection": "holdout"}},
    "augmented_folds": {"data": {"augment": True, "shots": 2}, "search": {"selection": "folds"}},
    "folds": {"data": {"augment": False, "shots": 2}, "search": {"selection": "folds"}},
    "class_folds": {
        "protocol": "base_to_new",
        "data": {"dataset": "glyphs", "augment": False, "shots": 2},
    },
    "base": {
        "protocol": "base_to_new",
        "data": {"augment": False, "shots": 4},
        "search": {"selection": "base"},
    },
}
"""Sections of the configuration by the name of a setting."""


class OwnHead(Preparer):
    """Prepares trials that are scored after each epoch, with the head of their settings alone."""

    def search(self) -> TrialData:
        return replace(super().search(), heads=(), scored_at=None)

    def test(self, seed: int) -> TrialData:
        return replace(super().test(seed), heads=())


@pytest.fixture(scope="module")
def backbone(tiny_backbone: Path) -> Backbone:
    return load_backbone(tiny_backbone)


@pytest.fixture(scope="module")
def prepare(tmp_path_factory: pytest.TempPathFactory) -> Prepare:
    """Prepare the data of a setting, decoding each image once."""
    storage = tmp_path_factory.mktemp("runs")

    def prepare(setting: str) -> Preparer:
        config = build_config({"storage": str(storage), **SETTINGS[setting]}, setting)
        folder = StudyFolder(storage / setting)
        folder.path.mkdir(parents=True, exist_ok=True)
        return OwnHead(Study(config, folder), image_size=16)

    return prepare


@pytest.fixture(scope="module")
def holdout(prepare: Prepare) -> TrialData:
    return prepare("holdout").search()
