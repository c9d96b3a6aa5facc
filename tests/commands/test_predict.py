"""``predict`` and ``export``: which model they take, what they write where, what they refuse."""

import csv
import io
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.commands.predict import label_images, labels_csv, read_classes
from study.data.datasets import load_dataset
from study.errors import DataError
from study.serving.classifier import TunedClassifier, load_classifier
from study.serving.image_files import find_images
from study.tracking.mlflow.registry import register_best
from study.tracking.mlflow.study_run import StudyRun
from tests.commands.conftest import Run

PHOTOS = ("1.png", "2.png", "more/3.png", "more/4.png", "z.png")


@pytest.fixture(scope="module")
def study(finish: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A finished study with a linear head, in ``runs`` of a folder with photos."""
    place = tmp_path_factory.mktemp("predicted")
    (place / "photos" / "more").mkdir(parents=True)
    dataset = load_dataset("digits")
    for name, record in zip(PHOTOS, dataset.test, strict=False):
        dataset.source.open_image(record.path).resize((31, 31)).save(place / "photos" / name)
    return finish(place / "runs", "mine", linear=True)


@pytest.fixture(autouse=True)
def here(study: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in the folder of ``runs`` and ``photos``."""
    place: Path = study.folder.path.parent.parent
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def delta(study: Any) -> Path:
    """The tuned parameters of the study's final model."""
    path: Path = study.folder.trial("test-best-seed1").path / "delta.safetensors"
    return path


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def labels(classifier: TunedClassifier, *names: str) -> str:
    """Return the CSV of images that a classifier labels."""
    return labels_csv(label_images(classifier, [*map(Path, names)], 3), 3)


def test_each_image_has_its_most_probable_classes_or_its_fault(delta: Path):
    classifier = load_classifier(delta)
    paths = [Path("none.png"), *(Path("photos", name) for name in PHOTOS)]
    faulty, *found = label_images(classifier, paths, 4)
    assert faulty == [paths[0], *[None] * 8, "no such image"], "the row has the path already"
    for path, one, row in zip(paths[1:], found, classifier.probabilities(paths[1:]), strict=True):
        assert (one[0], one[-1]) == (path, None)
        highest = row.topk(4)
        assert one[1:-1:2] == [classifier.class_names[at] for at in highest.indices.tolist()]
        assert one[2:-1:2] == pytest.approx(highest.values.tolist(), abs=1e-6)
    assert len({one[1] for one in found}) > 1, "else the order shows nothing"


def test_the_best_configuration_of_a_study_labels_a_folder(delta: Path, tmp_path: Path, run: Run):
    out = tmp_path / "labels.csv"
    out.write_text("before")
    printed = run("predict", "mine", "photos", "--out", out)
    text = labels(load_classifier(delta), *(f"photos/{name}" for name in PHOTOS))
    assert out.read_text() == text
    assert text.splitlines()[0] == (
        "path,class_1,probability_1,class_2,probability_2,class_3,probability_3,error"
    )
    assert printed.out == ""
    (line,) = printed.err.splitlines()  # without a bar, since there is no terminal
    for part in (
        "5 images, ",
        "the final model of study 'mine'",
        "2 of them with the trained head",
    ):
        assert part in line
    assert [path.name for path in tmp_path.iterdir()] == ["labels.csv"]


def test_delta_and_registry_lead_to_the_same_labels(
    study: Any,
    delta: Path,
    new_store: Callable[[Path], str],
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
):
    uri = new_store(tmp_path)
    registration = register_best(StudyRun(study.study, uri))
    assert registration is not None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    images = ("photos/more/4.png", "photos/1.png")
    for model in (delta, registration.uri):
        assert run("predict", model, *images).out == labels(load_classifier(delta), *images)


@pytest.mark.parametrize(
    "words, message",
    [
        ("none.safetensors photos", "none.safetensors cannot be read"),
        ("photos/1.png photos", "photos/1.png cannot be read"),
        ("mine photos --top 0", "--top is 0"),
        ("mine photos --top -3", "--top is -3"),
        ("mine photos --out rows.txt", "--out is rows.txt"),
        ("mine photos --out folder.csv", "--out is folder.csv"),
        ("mine photos --out none/rows.csv", "--out is none/rows.csv"),
        ("mine photos --device tpu", "'tpu'"),
        ("mine photos --classes cat", "--classes is 'cat'"),
        ("mine photos/1.png gone.png", "'gone.png'"),
    ],
)
def test_models_and_options_that_cannot_be_used_are_refused(
    here: Path, words: str, message: str, refused: Callable[..., str]
):
    (here / "folder.csv").mkdir(exist_ok=True)
    assert message in refused("predict", *words.split())


def test_other_class_names_have_the_heads_rows_by_name_and_text_else(
    delta: Path, tmp_path: Path, run: Run
):
    names = ["a cat", "digit two", "an ibis, sitting"]
    file = tmp_path / "names.txt"
    file.write_text("\ufeff" + "\r\n\r\n".join(names) + "\r\n")
    printed = run("predict", "mine", "photos/1.png", "--classes", file, "--top", "9")
    expected = load_classifier(delta, class_names=names)
    assert expected.from_head == ("digit two",)
    assert printed.out == labels(expected, "photos/1.png"), "three classes are all that there are"
    assert "3 classes, 1 of them with the trained head" in printed.err


def test_where_no_image_can_be_read_the_rows_are_written_and_the_command_fails(
    delta: Path, tmp_path: Path, run: Run
):
    images, out = [tmp_path / "1.txt", tmp_path / "2.txt"], tmp_path / "rows.csv"
    for image in images:
        image.touch()
    printed = run("predict", delta, *images, "--out", out)
    assert (printed.code, "none of 2 images could be read" in printed.err) == (2, True)
    assert all(row["error"].startswith("not a readable image") for row in rows(out.read_text()))
    assert ".tiff .webp" in run("predict", delta, tmp_path).err


def test_class_names_that_cannot_be_reported_apart_are_refused(tmp_path: Path):
    file = tmp_path / "names.txt"
    for contents in (b"a\n\n", b"", b"\xff\n", b"a\nb\na\n"):
        file.write_bytes(contents)
        with pytest.raises(DataError, match=str(file)):
            read_classes(str(file))
    for text in ("", "a,b,a", "a,,b", str(tmp_path)):
        with pytest.raises(DataError):
            read_classes(text)
    names = tuple(f"class {number}" for number in range(2000))
    assert read_classes(", ".join(names)) == names, "more than a path may be long"


def test_images_come_in_the_order_of_the_words_and_other_files_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    for name in ("empty", "more"):
        (tmp_path / name).mkdir()
    for name in ("1.png", "z.png", "more/3.png", "more/4.png", "more/a.HEIC", "more/.hidden"):
        (tmp_path / name).touch()
    words = [str(tmp_path / name) for name in ("z.png", "empty", "more", "1.png")]
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(words)]
    assert found == ["z.png", "more/3.png", "more/4.png", "1.png"]
    empty, other = caplog.messages
    assert str(tmp_path / "empty") in empty
    assert other.endswith(".heic 1")


def test_a_path_is_no_formula_and_its_bytes_may_be_no_text():
    names = ("=1+2.png", "@a.png", os.fsdecode(b"a\xff.png"))
    images = [(Path(name), "=class", 0.5, None) for name in names]
    paths = [row["path"] for row in rows(labels_csv(images, 1))]
    assert paths == ["./=1+2.png", "./@a.png", "a\\xff.png"]


@pytest.mark.parametrize(
    "words, out, fault",
    [
        ("mine --format zip", "out", "--format is 'zip'; expected one of hf"),
        ("mine storage=elsewhere --format zip", "out", "no study 'mine' in elsewhere"),
        ("mine --format hf", ".", "already exists; expected a new or empty folder"),
        ("mine --format hf", "out", "/out cannot be written: "),
    ],
)
def test_a_fault_of_an_export_is_one_line_and_changes_nothing(
    words: str, out: str, fault: str, tmp_path: Path, refused: Callable[..., str]
):
    (tmp_path / "mine.txt").write_text("before")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, before[1]))  # which a whole model exceeds
    try:
        assert fault in refused("export", *words.split(), "--out", tmp_path / out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
