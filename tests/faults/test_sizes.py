"""Data of odd sizes, from a dataset to a trial's files: it works, or one error tells why not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from study.backbones.load_backbone import load_backbone
from study.config.loading import build_config
from study.storage.study_folder import StudyFolder
from study.trial.prepare import Preparer
from study.trial.run_trial import run_trial
from study.trial.study import Study, TrialData
from tests.paper_dataset import make_paper_dataset
from tests.settings import clipfit_trial


@pytest.fixture
def prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Preparer]:
    """Prepare so many classes, with so many images each in every split, for a study of one shot."""

    def prepare(classes: int, images: int, protocol: str = "few_shot") -> Preparer:
        given = make_paper_dataset(classes, images, images, images)
        folder = StudyFolder(tmp_path / protocol)
        folder.path.mkdir()
        monkeypatch.setattr("study.data.datasets.load_dataset", lambda *_, **__: given)
        data = {"dataset": "odd", "shots": 1, "augment": False}
        values = {"storage": str(tmp_path), "data": data, "protocol": protocol}
        return Preparer(Study(build_config(values, "odd"), folder), 16)

    return prepare


def train(data: TrialData, backbone: Path) -> dict[str, float]:
    """Run a trial of two epochs; return its last metrics."""
    config = clipfit_trial(trial_id="trial", epochs=2, training={"epochs": 2})
    *_, last = run_trial(config, data, load_backbone(backbone))
    return last.metrics


def test_one_class_is_always_right(prepare: Callable[..., Preparer], tiny_backbone: Path):
    preparer = prepare(1, 3)
    for data, score in ((preparer.search(), "val_score"), (preparer.test(1), "test_score")):
        metrics = train(data, tiny_backbone)
        assert metrics["cross_entropy"] == 0
        assert metrics[score] == 1


@pytest.mark.parametrize("protocol", ["few_shot", "base_to_new"])
def test_one_image_a_class_suffices(
    prepare: Callable[..., Preparer], tiny_backbone: Path, protocol: str
):
    last = train(prepare(24, 1, protocol).search(), tiny_backbone)
    assert 0 <= last["val_score"] <= 1
