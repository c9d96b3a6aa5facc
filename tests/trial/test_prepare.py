"""What each protocol lays out for trials, from files in the field's formats."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from study.backbones.backbone import Backbone
from study.commands.check import find_data_faults
from study.config.loading import build_config
from study.config.trial_settings import TrialSettings
from study.data.images.table import ImageTable, cache_fault
from study.data.prompts import ENSEMBLE, TEMPLATES
from study.errors import DataError
from study.storage.study_folder import StudyFolder
from study.trial.prepare import Preparer
from study.trial.study import SPLIT_HASH, EpochReport, Study, TrialData
from tests import miniature
from tests.trial.outcomes import last_report

Prepare = Callable[..., Preparer]


@pytest.fixture
def prepare(root: Path, tmp_path: Path) -> Prepare:
    """Make a preparer of a study whose data section is given by keywords."""

    def prepare(protocol: str = "few_shot", *, search: Any = None, **data: Any) -> Preparer:
        values = {
            "protocol": protocol,
            "storage": str(tmp_path / "runs"),
            "data": {"root": str(root), "shots": 2, "augment": False, **data},
            "search": {"selection": "holdout", **(search or {})},
        }
        folder = StudyFolder(tmp_path / "runs" / "study")
        folder.path.mkdir(parents=True, exist_ok=True)
        return Preparer(Study(build_config(values, "here"), folder), image_size=16)

    return prepare


def tested(data: TrialData, backbone: Backbone, **changes: Any) -> EpochReport:
    """Run a trial of the stage test to its end, without training unless changes say so."""
    return last_report(
        data, backbone, **{"stage": "test", "subset": "none", "epochs": 0, **changes}
    )


def deep_images(folder: Path) -> Path:
    """Write a folder of 16 images of 16 bits, of which 12 are used, of two classes."""
    for number in range(16):
        file = folder / ("cat" if number % 2 else "dog") / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        values = np.linspace(0, 4095, 16, dtype=np.uint16).reshape(4, 4)
        Image.fromarray(np.roll(values, number)).save(file)
    return folder


def test_transfer_is_tested_with_each_targets_own_prompts(prepare: Prepare, backbone: Backbone):
    preparer = prepare(
        "transfer",
        dataset="imagenet",
        targets=["eurosat", "imagenet_a"],
        templates=["this is {}."],
        val_shots=1,
    )
    assert [part.name for part in preparer.search().tasks[0].evaluations] == ["accuracy"]
    assert not preparer.search().targets
    data = preparer.test(1)
    assert data.templates == ("this is {}.",)
    assert data.targets["eurosat"].templates == TEMPLATES["eurosat"]
    assert data.targets["eurosat"].class_names[0] == "Annual Crop Land"
    assert len(data.targets["imagenet_a"].class_names) == 2
    report = tested(data, backbone)
    metrics = report.metrics
    mean = (metrics["test_eurosat"] + metrics["test_imagenet_a"]) / 2
    assert metrics["test_score"] == pytest.approx(mean)
    assert "test_source" in metrics
    labels = {p.label for p in report.predictions if p.part == "imagenet_a"}
    assert labels == set(data.targets["imagenet_a"].class_names)
    alone = tested(prepare("zero_shot", dataset="eurosat").test(1), backbone).metrics
    assert alone["test_score"] == alone["test_accuracy"] == metrics["test_eurosat"]


def test_a_class_without_a_readable_training_image_is_named(
    prepare: Prepare, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    own = deep_images(tmp_path / "own")
    preparer = prepare(dataset="mine", root=str(own), val_shots=1, on_corrupt="skip")
    first, second = (
        record.path for record in preparer.search().tasks[0].train.records if record.label == 1
    )
    (own / first).write_bytes(b"no image")
    (task,) = preparer.search().tasks
    assert [record.label for record in task.train.records].count(1) == 1
    assert "no readable image" not in caplog.text
    (own / second).write_bytes(b"no image")
    for _ in range(2):  # the images are decoded, and then found
        caplog.clear()
        (task,) = preparer.search().tasks
        assert {record.label for record in task.train.records} == {0}
        assert "the part 'train' has no readable image of 'dog'" in caplog.text


def test_an_ensemble_is_of_all_templates_or_of_those_given(prepare: Prepare, backbone: Backbone):
    single = prepare(dataset="eurosat").test(1)
    several = prepare(dataset="eurosat", ensemble=True).test(1)
    assert several.templates == (*TEMPLATES["eurosat"], *ENSEMBLE)
    tuned: Any = {"subset": "clipfit", "epochs": 2, "training": {"batch_size": 4}}
    reports = [tested(data, backbone, **tuned) for data in (single, several)]
    losses = {report.metrics["train_loss"] for report in reports}
    assert len(losses) == 1, "training keeps to the first template"
    given = ["a {}.", "the {}."]
    for ensemble, used in ((True, given), (False, given[:1])):
        values = {"dataset": "eurosat", "ensemble": ensemble, "templates": given}
        assert prepare("zero_shot", **values).test(1).templates == tuple(used)


def test_without_a_search_no_image_is_kept_for_validation(prepare: Prepare):
    given = prepare(dataset="imagenet", shots=4, search={"trials": 0})
    assert given.shots(seed=1).val == ()
    with pytest.raises(DataError, match="validation images"):
        prepare(dataset="imagenet", shots=4).test(2)


def test_a_pixel_range_is_for_all_but_packaged_datasets(prepare: Prepare, tmp_path: Path):
    deep = str(deep_images(tmp_path / "deep"))
    deep_images(tmp_path / "mine")
    targets = {"targets": ["mine", "digits"], "targets_root": str(tmp_path)}
    data = prepare("zero_shot", dataset="deep", root=deep, pixel_range=[0, 4095], **targets).test(1)
    assert data.reading.pixel_range == (0, 4095)
    for images in (data.eval_images, data.targets["mine"].images):
        table = ImageTable(images)
        assert table.pixels(table.paths).max() == 255
        assert cache_fault(images, table.paths) is None


def test_the_tasks_of_a_trial_are_on_record_under_their_hash(prepare: Prepare):
    preparer = prepare("base_to_new", dataset="eurosat", search={"selection": "base"})
    data = preparer.search()
    path = preparer.study.folder.path / "shots" / f"tasks-{data.digest[:SPLIT_HASH]}.jsonl"
    head, task, *lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert head["class_names"] == list(data.class_names)
    assert task == {"task": 0, "digest": data.tasks[0].digest}
    assert lines == [json.loads(line) for line in data.tasks[0].lines()]
    written = path.stat().st_mtime_ns
    preparer.search()
    assert path.stat().st_mtime_ns == written
    preparer.test(1)
    assert len(list(path.parent.glob("tasks-*.jsonl"))) == 2


def test_no_more_images_are_opened_than_a_stage_needs(prepare: Prepare, tmp_path: Path):
    folder = miniature.make("eurosat", tmp_path / "own", classes=4, counts=(4, 2, 2))
    split = json.loads((folder / "split_zhou_EuroSAT.json").read_text())
    for path, _, _ in split["test"]:
        (folder / "2750" / path).write_bytes(b"unreadable until test")
    preparer = prepare(dataset="eurosat", root=str(tmp_path / "own"))
    preparer.search()
    with pytest.raises(DataError, match="not a readable image"):
        preparer.test(1)
    for path in folder.rglob("*.jpg"):
        path.write_bytes(b"unreadable until the study")
    assert find_data_faults(preparer.study) == [], "a check reads lists and headers"


def test_a_search_scores_all_its_heads_where_trials_may_be_stopped(prepare: Prepare):
    searched = prepare(search={"heads": ["text"]}).search()
    assert (searched.heads, searched.scored_at) == (("text",), (3, 9, 27, 81))
    given = TrialSettings(subset="none", head="linear")
    assert searched.heads_of(given) == ("text", "linear")
    endless = prepare(search={"asha": None, "heads": ["linear"]}).search()
    assert endless.heads_of(given) == ("linear",)
    assert endless.scored_at == ()


def test_a_test_scores_the_head_of_each_row_and_a_final_model_its_own(prepare: Prepare):
    preparer = prepare(search={"heads": ["text"]})
    assert preparer.test(1).heads == ("text", "linear"), "the linear classifier is a row"
    final = preparer.final()
    assert (final.heads, final.epoch_images) == ((), len(final.tasks[0].train.records))
