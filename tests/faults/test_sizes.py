"""Data of odd sizes, from a dataset to a trial's files: it works, or one error tells why not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from study.backbones.load_backbone import load_backbone
from study.config.loading import build_config
from study.data.records import Dataset, Record
from study.errors import DataError
from study.method.delta import DeltaInfo
from study.search.recording import record_epoch
from study.storage.study_folder import StudyFolder
from study.trial import TrialData
from study.trial.prepare import Preparer
from study.trial.run_trial import run_trial
from study.trial.study import Study
from tests.small_trials import trial

Prepare = Callable[..., Preparer]


class Plain:
    """Images of one colour, which depends on the class."""

    def open_image(self, path: str) -> Image.Image:
        """Open an image without a file."""
        label = int(path.split("/")[1])
        return Image.new("RGB", (16, 16), (label % 256, label // 256, 0))


def dataset(classes: int, images: int) -> Dataset:
    """Give a dataset of so many classes, with so many images a class in every split."""

    def split(name: str) -> tuple[Record, ...]:
        return tuple(
            Record(f"{name}/{label}/{n}", label) for label in range(classes) for n in range(images)
        )

    return Dataset(
        name="odd",
        class_names=tuple(f"thing {label}" for label in range(classes)),
        templates=("a {}.",),
        train=split("train"),
        val=split("val"),
        test=split("test"),
        source=Plain(),
    )


@pytest.fixture
def prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prepare:
    """Prepare a dataset for a study of one shot."""

    def prepare(given: Dataset, **values: Any) -> Preparer:
        (tmp_path / "odd").mkdir(exist_ok=True)
        monkeypatch.setattr("study.data.datasets.load_dataset", lambda *_, **__: given)
        data = {"dataset": "odd", "shots": 1, "augment": False}
        config = build_config({"storage": str(tmp_path), "data": data, **values}, "odd")
        return Preparer(Study(config, StudyFolder(tmp_path / "odd")), image_size=16)

    return prepare


def trained(data: TrialData, backbone: Path, place: Path, **training: int) -> dict[str, float]:
    """Run a trial of two epochs; give its last metrics, its files being at the place."""
    config = trial(trial_id="trial", epochs=2, training={"epochs": 2, **training})
    info = DeltaInfo("tiny", None, "0" * 16, "clipfit", data.class_names, data.templates)
    study = StudyFolder(place / "study")
    study.create("", {})
    folder = study.trial("trial")
    folder.create(config.model_dump(mode="json"))
    for report in run_trial(config, data, load_backbone(backbone)):
        record_epoch(folder, report, data, info)
    return folder.read_reports()[-1]


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("test", [False, True])
def test_one_class_is_always_right(
    prepare: Prepare, tiny_backbone: Path, tmp_path: Path, images: int, test: bool
) -> None:
    preparer = prepare(dataset(1, images))
    data = preparer.confirm(1) if test else preparer.search()
    last = trained(data, tiny_backbone, tmp_path)
    assert last["cross_entropy"] == 0
    assert last["test_score" if test else "val_score"] == 1


def test_one_class_has_no_new_classes_and_an_error_says_so(prepare: Prepare) -> None:
    with pytest.raises(DataError, match="needs a training split of 2 classes"):
        prepare(dataset(1, 3), protocol="base_to_new").confirm(1)


@pytest.mark.parametrize("protocol", ["few_shot", "base_to_new"])
def test_one_image_a_class_suffices(
    prepare: Prepare, tiny_backbone: Path, tmp_path: Path, protocol: str
) -> None:
    data = prepare(dataset(24, 1), protocol=protocol).search()
    last = trained(data, tiny_backbone, tmp_path)
    assert 0 <= last["val_score"] <= 1


def test_one_image_a_class_and_none_to_validate_on_is_an_error(prepare: Prepare) -> None:
    whole = dataset(3, 1)
    without = replace(whole, val=())
    with pytest.raises(DataError, match="1 validation images a class are wanted"):
        prepare(without).search()


@pytest.mark.long
@pytest.mark.timeout(120)
def test_ten_thousand_classes_are_trained_tested_and_written(
    prepare: Prepare, tiny_backbone: Path, tmp_path: Path
) -> None:
    data = prepare(dataset(10_000, 1)).confirm(1)
    last = trained(data, tiny_backbone, tmp_path, batch_size=2500)
    assert 0 <= last["test_score"] <= 1
    files = tmp_path / "study" / "trials" / "trial"
    predictions = pq.read_table(files / "predictions.parquet").to_pydict()
    assert len(set(predictions["path"])) == len(set(predictions["label"])) == 10_000
    assert (files / "predictions.parquet").stat().st_size < 2**20
