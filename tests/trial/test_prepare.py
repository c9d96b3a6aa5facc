"""What each protocol lays out for trials, from files in the field's formats."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

import study.data.datasets
import study.trial.prepare
from study.backbones.backbone import Backbone
from study.config.loading import build_config
from study.data.datasets import ReaderOptions
from study.data.images.image_reading import DEFAULT_READING
from study.data.images.table import ImageTable, cache_fault
from study.data.prompts import ENSEMBLE, TEMPLATES
from study.data.readers.benchmarks import BENCHMARKS
from study.errors import DataError
from study.storage.study_folder import StudyFolder
from study.trial import SPLIT_HASH, EpochReport, TrialData
from study.trial.prepare import Preparer
from study.trial.run_trial import run_trial
from study.trial.study import Study
from study.workflow.check import find_faults
from tests.small_trials import trial

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
        folder.claim()
        return Preparer(Study(build_config(values, "here"), folder), image_size=16)

    return prepare


def last(data: TrialData, backbone: Backbone, **changes: Any) -> EpochReport:
    """Run a trial to its end."""
    config = trial(**{"stage": "confirm", "subset": "none", "epochs": 0, **changes})
    return list(run_trial(config, data, backbone))[-1]


TUNED = {
    "subset": "clipfit",
    "bias_lr": 0.05,
    "ln_lr": 0.05,
    "distill_weight": 1.0,
    "epochs": 3,
    "training": {"batch_size": 4},
}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_dataset_is_tested_zero_shot(name: str, prepare: Prepare, backbone: Backbone) -> None:
    data = prepare("zero_shot", dataset=name).confirm(1)
    assert not data.tasks[0].train.records
    assert data.templates == TEMPLATES[name]
    metrics = last(data, backbone).metrics
    assert metrics["test_score"] == metrics["test_accuracy"]


def test_transfer_is_chosen_on_the_source_and_tested_with_each_targets_own_prompts(
    prepare: Prepare, backbone: Backbone
) -> None:
    preparer = prepare(
        "transfer",
        dataset="imagenet",
        targets=["eurosat", "imagenet_a"],
        templates=["this is {}."],
        val_shots=1,
    )
    assert [part.name for part in preparer.search().tasks[0].evaluations] == ["accuracy"]
    assert not preparer.search().targets
    data = preparer.confirm(1)
    assert data.templates == ("this is {}.",)
    assert data.targets["eurosat"].templates == TEMPLATES["eurosat"]
    assert data.targets["eurosat"].class_names[0] == "Annual Crop Land"
    assert len(data.targets["imagenet_a"].class_names) == 2
    report = last(data, backbone, **TUNED)
    metrics = report.metrics
    mean = (metrics["test_eurosat"] + metrics["test_imagenet_a"]) / 2
    assert metrics["test_score"] == pytest.approx(mean)
    assert "test_source" in metrics
    found = [p for p in report.predictions if p.part == "imagenet_a"]
    assert {p.label for p in found} == set(data.targets["imagenet_a"].class_names)
    alone = last(prepare("zero_shot", dataset="eurosat").confirm(1), backbone)
    assert last(data, backbone).metrics["test_eurosat"] == alone.metrics["test_accuracy"]


def test_an_unreadable_image_is_left_out_of_its_own_dataset_alone(
    prepare: Prepare, miniature: ModuleType, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    for name in ("food101", "dtd"):
        miniature.make(name, own, classes=3)
    preparer = prepare(
        "zero_shot", dataset="food101", root=str(own), targets=["dtd"], on_corrupt="skip"
    )
    whole = preparer.confirm(1)
    broken = whole.tasks[0].evaluations[1].records[0].path
    (own / "dtd" / broken).write_bytes(b"no image")
    (own / "food-101" / broken).parent.mkdir(parents=True, exist_ok=True)
    source, target = preparer.confirm(1).tasks[0].evaluations
    assert source == whole.tasks[0].evaluations[0]
    assert broken not in {record.path for record in target.records}
    assert len(target.records) == len(whole.tasks[0].evaluations[1].records) - 1


def test_a_class_without_a_readable_training_image_is_named(
    prepare: Prepare, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = tmp_path / "own"
    for number in range(24):
        file = own / "abc"[number % 3] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (10 * number, 0, 0)).save(file)
    preparer = prepare(dataset="mine", root=str(own), val_shots=1, on_corrupt="skip")
    first, second = (
        record.path for record in preparer.search().tasks[0].train.records if record.label == 1
    )
    (own / first).write_bytes(b"no image")
    (task,) = preparer.search().tasks
    assert [record.label for record in task.train.records].count(1) == 1
    assert "trains without" not in caplog.text
    (own / second).write_bytes(b"no image")
    for _ in range(2):  # the images are decoded, and then found
        caplog.clear()
        (task,) = preparer.search().tasks
        assert {record.label for record in task.train.records} == {0, 2}
        assert "mine: a task trains without an image of 'b': all 2 that were drawn" in caplog.text


def test_an_ensemble_is_of_the_datasets_own_and_clips_or_of_those_given(
    prepare: Prepare, backbone: Backbone
) -> None:
    data = prepare("zero_shot", dataset="eurosat", ensemble=True).confirm(1)
    assert data.templates == (*TEMPLATES["eurosat"], *ENSEMBLE)
    given = ["a {}.", "the {}."]
    data = prepare("zero_shot", dataset="eurosat", ensemble=True, templates=given).confirm(1)
    assert data.templates == tuple(given)
    swapped = prepare("zero_shot", dataset="eurosat", ensemble=True, templates=given[::-1])
    one, other = last(data, backbone), last(swapped.confirm(1), backbone)
    assert [p.predicted for p in one.predictions] == [p.predicted for p in other.predictions]


def test_training_keeps_to_the_first_template_of_an_ensemble(
    prepare: Prepare, backbone: Backbone
) -> None:
    losses = set()
    for ensemble in (False, True):
        data = prepare(dataset="eurosat", ensemble=ensemble).confirm(1)
        losses.add(last(data, backbone, **TUNED).metrics["train_loss"])
    assert len(losses) == 1


def test_shots_that_others_published_are_read_as_they_are(prepare: Prepare, tmp_path: Path) -> None:
    drawn = prepare(dataset="eurosat", val_shots=1)
    dataset = drawn.study.dataset()
    shots = drawn.shots(seed=5)

    def rows(records: Any) -> list[dict[str, Any]]:
        return [
            {
                "impath": f"/their/data/eurosat/{r.path}",
                "label": r.label,
                "classname": dataset.class_names[r.label],
            }
            for r in records
        ]

    place = tmp_path / "published" / "eurosat" / "split_fewshot"
    place.mkdir(parents=True)
    for part, records in (("train", shots.train), ("val", shots.val)):
        lines = "".join(json.dumps(row) + "\n" for row in rows(records))
        (place / f"shot_2-seed_1_{part}.jsonl").write_text(lines)
    shutil.rmtree(drawn.study.folder.path)
    read = prepare(dataset="eurosat", shots_from=str(tmp_path / "published"))
    assert read.shots(seed=1).train == shots.train
    assert read.shots(seed=1).val == shots.val


def test_a_class_with_too_few_images_fails_or_gives_all(prepare: Prepare) -> None:
    with pytest.raises(DataError, match=r"at most 4 shots, or data\.short=take_all"):
        prepare(dataset="dtd", shots=9).search()
    task = prepare(dataset="dtd", shots=9, short="take_all").search().tasks[0]
    assert len(task.train.records) == 4 * 4


def test_without_a_search_no_image_is_kept_for_validation(prepare: Prepare) -> None:
    given = prepare(dataset="imagenet", shots=4, search={"trials": 0})
    assert given.shots(seed=1).val == ()
    with pytest.raises(DataError, match="validation images"):
        prepare(dataset="imagenet", shots=4).confirm(2)


def deep_images(folder: Path, *, highest: int = 4095) -> Path:
    """Write a folder of ten 16-bit images of two classes, of 12 bits where highest is 4095."""
    for number in range(10):
        file = folder / ("cat" if number % 2 else "dog") / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        values = np.linspace(0, highest, 16, dtype=np.uint16).reshape(4, 4)
        Image.fromarray(np.roll(values, number)).save(file)
    return folder


@pytest.mark.parametrize("augment", [False, True])
def test_dark_images_are_asked_about_once_when_decoded_and_when_found(
    augment: bool, prepare: Prepare, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = deep_images(tmp_path / "deep")
    preparer = prepare(dataset="deep", root=str(folder), shots=1, augment=augment)
    for each in (preparer, Preparer(preparer.study, 16)):
        caplog.clear()
        each.search()
        each.confirm(1)
        (warning,) = caplog.messages
        assert warning.startswith("deep: its 16-bit images are nearly black")
        assert "4095" in warning
        assert "data.pixel_range=[0, 4095]" in warning


def test_a_range_reaches_the_pixels_of_a_study_and_its_trials(
    prepare: Prepare, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deep = deep_images(tmp_path / "deep")
    data = prepare(dataset="deep", root=str(deep), shots=1, pixel_range=[0, 4095]).confirm(1)
    assert data.reading.pixel_range == (0, 4095)
    table = ImageTable(data.eval_images)
    assert table.pixels(table.paths).max() == 255
    assert not caplog.messages
    assert cache_fault(data.eval_images, table.paths) is None


def test_a_range_is_for_the_targets_as_well_but_for_packaged_ones(
    prepare: Prepare, root: Path, tmp_path: Path
) -> None:
    deep = deep_images(tmp_path / "deep")
    data = prepare(
        "zero_shot",
        dataset="dtd",
        targets=["mine", "digits"],
        targets_root=str(deep),
        pixel_range=[0, 4095],
    ).confirm(1)
    table = ImageTable(data.targets["mine"].images)
    assert table.pixels(table.paths).max() == 255


def test_a_range_for_a_packaged_dataset_is_refused(prepare: Prepare) -> None:
    with pytest.raises(DataError, match="'digits' does not read pixel_range"):
        prepare(dataset="digits", root=None, pixel_range=[0, 4095]).study.dataset()


def test_images_that_need_a_range_are_named_before_any_trial(
    prepare: Prepare, tmp_path: Path
) -> None:
    folder = deep_images(tmp_path / "deep")
    for file in folder.rglob("*.png"):
        Image.fromarray(np.full((4, 4), 7.5, np.float32)).save(file, "TIFF")
    with pytest.raises(DataError, match=r"(cat|dog)/\d\.png: has floating-point numbers from 7\.5"):
        prepare(dataset="deep", root=str(folder), shots=1).search()


def test_every_option_of_a_hub_dataset_reaches_it(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def load(name: str, root: Path | None, **options: Any) -> None:
        asked.update(name=name, **options)

    monkeypatch.setattr(study.data.datasets, "load_dataset", load)
    options: dict[str, Any] = {
        "columns": {"image": "img", "label": "fine"},
        "splits": {"test": "holdout"},
        "subset": "small",
        "revision": "abc",
    }
    prepare(dataset="hf:owner/name", **options).study.dataset()
    assert asked == {
        "name": "hf:owner/name",
        "templates": None,
        "reading": DEFAULT_READING,
        "options": ReaderOptions(**options),
    }


def test_what_a_trial_learns_from_and_is_judged_on_is_on_record_under_its_hash(
    prepare: Prepare,
) -> None:
    preparer = prepare("base_to_new", dataset="eurosat", search={"selection": "base"})
    data = preparer.search()
    path = preparer.study.folder.path / "shots" / f"tasks-{data.digest[:SPLIT_HASH]}.jsonl"
    head, task, *lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert head["class_names"] == list(data.class_names)
    assert task["task"] == 0
    text = "\n".join(data.tasks[0].lines())
    assert path.read_text().endswith(text + "\n")
    assert hashlib.sha256(text.encode()).hexdigest() == task["digest"]
    trained = {line["path"] for line in lines if line.get("path") and line["part"] == "train"}
    assert trained == {record.path for record in data.tasks[0].train.records}
    written = path.stat().st_mtime_ns
    preparer.search()
    assert path.stat().st_mtime_ns == written
    preparer.confirm(1)
    assert len(list(path.parent.glob("tasks-*.jsonl"))) == 2


def test_no_test_image_is_opened_for_the_search(
    miniature: ModuleType, prepare: Prepare, tmp_path: Path
) -> None:
    folder = miniature.make("eurosat", tmp_path / "own", classes=4, counts=(4, 2, 2))
    split = json.loads((folder / "split_zhou_EuroSAT.json").read_text())
    for path, _, _ in split["test"]:
        (folder / "2750" / path).write_bytes(b"unreadable until confirm")
    preparer = prepare(dataset="eurosat", root=str(tmp_path / "own"))
    preparer.search()
    with pytest.raises(DataError, match="not a readable image"):
        preparer.confirm(1)


def data_faults(preparer: Preparer) -> list[str]:
    faults = find_faults(preparer.study, resuming=True, skipped=("tracking",))
    return [fault for fault in faults if fault.startswith("data")]


def test_a_check_reads_lists_and_headers_and_no_pixel(
    miniature: ModuleType, prepare: Prepare, tmp_path: Path
) -> None:
    folder = miniature.make("eurosat", tmp_path / "own", classes=4, counts=(4, 2, 2))
    for path in folder.rglob("*.jpg"):
        path.write_bytes(b"unreadable until the study")
    assert data_faults(prepare(dataset="eurosat", root=str(tmp_path / "own"))) == []


@pytest.mark.parametrize("regularizer", ["l2_init", "none"])
def test_another_regularizer_trains_another_model(
    regularizer: str, prepare: Prepare, backbone: Backbone
) -> None:
    data = prepare(dataset="eurosat").confirm(1)
    training = {"batch_size": 4, "regularizer": regularizer}
    cosine = last(data, backbone, **TUNED)
    other = last(data, backbone, **TUNED | {"training": training})
    assert cosine.metrics["distillation"] != other.metrics["distillation"]
    assert (other.metrics["distillation"] == 0) == (regularizer == "none")


def test_a_fault_of_published_shots_is_told_with_its_place(prepare: Prepare) -> None:
    fault, *_ = data_faults(prepare(dataset="eurosat", shots_from="/"))
    assert fault.startswith("data.shots_from: shot_2-seed_1_train.jsonl")


def test_a_fault_of_a_target_is_told_with_its_place(prepare: Prepare, tmp_path: Path) -> None:
    targets = {"targets": ["stanford_cars"], "targets_root": str(tmp_path)}
    (fault,) = data_faults(prepare("transfer", dataset="imagenet", **targets))
    assert fault.startswith("data.targets: split_zhou")
