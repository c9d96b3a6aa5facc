"""Data of odd sizes, from a dataset to a trial's files: it works, or one error tells why not."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from study.backbones.load_backbone import load_backbone
from study.config.loading import build_config
from study.data.records import Dataset, Record
from study.storage.study_folder import StudyFolder
from study.trial.prepare import Preparer
from study.trial.run_trial import run_trial
from study.trial.study import Study, TrialData
from tests.settings import clipfit_trial


class Plain:
    """Images of one colour, which depends on the class."""

    def open_image(self, path: str) -> Image.Image:
        """Open an image without a file."""
        label = int(path.split("/")[1])
        return Image.new("RGB", (16, 16), (label % 256, label // 256, 0))

    def stamp(self, path: str) -> str:
        """Return nothing: an image never changes."""
        return ""


def dataset(classes: int, images: int) -> Dataset:
    """Give a dataset of so many classes, with so many images a class in every split."""
    labels = list(range(classes)) * images
    names = tuple(f"thing {label}" for label in range(classes))

    def split(name: str) -> tuple[Record, ...]:
        return tuple(Record(f"{name}/{label}/{n}", label) for n, label in enumerate(labels))

    return Dataset("odd", names, ("a {}.",), split("train"), split("val"), split("test"), Plain())


@pytest.fixture
def prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Preparer]:
    """Prepare a dataset for a study of one shot."""

    def prepare(given: Dataset, protocol: str = "few_shot") -> Preparer:
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


@pytest.mark.parametrize("images, test", [(1, False), (3, True)])
def test_one_class_is_always_right(
    prepare: Callable[..., Preparer], tiny_backbone: Path, images: int, test: bool
):
    preparer = prepare(dataset(1, images))
    data = preparer.test(1) if test else preparer.search()
    metrics = train(data, tiny_backbone)
    assert metrics["cross_entropy"] == 0
    assert metrics["test_score" if test else "val_score"] == 1


@pytest.mark.parametrize("protocol", ["few_shot", "base_to_new"])
def test_one_image_a_class_suffices(
    prepare: Callable[..., Preparer], tiny_backbone: Path, protocol: str
):
    last = train(prepare(dataset(24, 1), protocol).search(), tiny_backbone)
    assert 0 <= last["val_score"] <= 1
