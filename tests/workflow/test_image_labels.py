"""``clipfit-study predict``: which model it takes, what it writes where, and what it refuses."""

import csv
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from study.commands import main
from study.data.datasets import load_dataset
from study.errors import DataError
from study.serving.classifier import TunedClassifier, load_classifier
from study.serving.labelling import LabelledImage
from study.tracking.mlflow.registry import register_winner
from study.tracking.mlflow.study_run import StudyRun
from study.workflow import image_labels
from study.workflow.image_labels import (
    csv_row,
    find_images,
    format_path,
    labels_table,
    read_classes,
)

PHOTOS = ("1.png", "2.png", "more/3.png", "more/4.png", "z.png")
REFUSED = yaml.safe_load(Path(__file__).with_name("image_labels.yaml").read_text())
HEADER = [
    *("path", "class_1", "probability_1", "class_2", "probability_2"),
    *("class_3", "probability_3", "error"),
]


@pytest.fixture(scope="module")
def study(finish: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A finished study with a linear head, in ``runs`` of a folder with photos."""
    place = tmp_path_factory.mktemp("predicted")
    (place / "runs").mkdir()
    dataset = load_dataset("digits")
    for name, record in zip(PHOTOS, dataset.test, strict=False):
        (place / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        dataset.source.open_image(record.path).resize((31, 31)).save(place / "photos" / name)
    return finish(place / "runs", "mine", linear=True)


@pytest.fixture(autouse=True)
def here(study: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in the folder of ``runs`` and ``photos``."""
    place: Path = study.folder.path.parent.parent
    monkeypatch.chdir(place)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return place


@pytest.fixture
def delta(study: Any) -> Path:
    path: Path = study.folder.trial("confirm-best-seed1").path / "delta.safetensors"
    return path


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def assert_same(
    found: list[dict[str, str]], classifier: TunedClassifier, paths: list[str], top: int = 3
) -> None:
    """The rows are those of the images, in order, and say what the classifier says of them."""
    assert [row["path"] for row in found] == paths
    values, order = classifier.probabilities(paths).sort(descending=True, stable=True)
    for row, own, ids in zip(found, values.tolist(), order.tolist(), strict=True):
        names = [classifier.class_names[index] for index in ids]
        assert [row[f"class_{n}"] for n in range(1, top + 1)] == names[:top]
        told = [float(row[f"probability_{n}"]) for n in range(1, top + 1)]
        assert told == pytest.approx(own[:top], abs=1e-6)
        assert row["error"] == ""


def test_the_winner_of_a_study_labels_a_folder(
    delta: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "labels.csv"
    out.write_text("before")
    assert main(["predict", "mine", "photos", "--out", str(out)]) == 0
    text = out.read_text(encoding="utf-8")
    assert text.splitlines()[0] == ",".join(HEADER)
    assert_same(rows(text), load_classifier(delta), [f"photos/{name}" for name in PHOTOS])
    said = capsys.readouterr()
    assert said.out == ""
    assert "labelling" not in said.err, "there is no terminal"
    first, second = said.err.splitlines()[-2:]
    assert first.startswith("5 images; ")
    assert first.endswith(" images per second on cpu")
    assert second == (
        "labelled by the winner of study 'mine' (trial confirm-best-seed1): "
        "text.mlp.fc2.bias + vision.ln, linear head, strength 0.75; backbone embedded; "
        "10 classes; the trained head is used for 2 of them, and text for the others"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["labels.csv"]


@pytest.mark.parametrize("model", ["study", "delta", "registry"])
def test_folder_delta_and_registry_lead_to_the_same_labels(
    study: Any,
    delta: Path,
    model: str,
    new_store: Callable[[Path], str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    named = {"study": "runs/mine", "delta": str(delta)}.get(model, "")
    if model == "registry":
        uri = new_store(tmp_path)
        registration = register_winner(StudyRun(study.study, uri))
        assert registration is not None
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        named = registration.uri
    assert main(["predict", named, "photos/more/4.png", "photos/1.png"]) == 0
    said = capsys.readouterr()
    assert_same(rows(said.out), load_classifier(delta), ["photos/more/4.png", "photos/1.png"])
    told = {"study": "the winner of", "delta": "trial confirm-best-seed1 of"}.get(model, named)
    assert f"labelled by {told}" in said.err


def test_a_study_is_looked_for_where_other_commands_look_for_it(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    image = str(here / "photos" / "1.png")
    assert main(["predict", "mine", image]) == 2
    assert main(["predict", "mine", image, f"storage={here / 'runs'}"]) == 0
    assert len(rows(capsys.readouterr().out)) == 1, "the storage is no image"


@pytest.mark.parametrize("model", REFUSED["models"])
def test_what_is_no_model_is_refused(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", model, "photos"]) == 2
    assert REFUSED["models"][model] in capsys.readouterr().err


@pytest.mark.parametrize("as_file", [False, True])
def test_other_class_names_have_the_heads_rows_by_name_and_text_else(
    delta: Path, tmp_path: Path, as_file: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["a cat", "digit two", "an ibis, sitting" if as_file else "an ibis"]
    given = ", ".join(names)
    if as_file:
        given = str(tmp_path / "names.txt")
        Path(given).write_text("\ufeff" + "\r\n\r\n".join(names) + "\r\n", encoding="utf-8")
    assert main(["predict", "mine", "photos/1.png", "--classes", given, "--top", "9"]) == 0
    said = capsys.readouterr()
    expected = load_classifier(delta, class_names=names)
    assert expected.from_head == ("digit two",)
    assert_same(rows(said.out), expected, ["photos/1.png"])
    assert said.out.splitlines()[0] == ",".join(HEADER), "three classes are all that there are"
    assert "3 classes from --classes; the trained head is used for 1 of them" in said.err


@pytest.mark.parametrize("text", REFUSED["classes"])
def test_class_names_that_cannot_be_told_apart_are_refused(text: str) -> None:
    with pytest.raises(DataError) as refused:
        read_classes(text)
    assert REFUSED["classes"][text] in str(refused.value)


def test_a_file_of_class_names_is_named_in_its_faults(tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    for contents, told in ((b"a\n\n", "gives 'a'"), (b"", "gives no names"), (b"\xff\n", "cannot")):
        file.write_bytes(contents)
        with pytest.raises(DataError, match=told) as refused:
            read_classes(str(file))
        assert str(file) in str(refused.value)
    file.write_text("a\nb\na\n")
    with pytest.raises(DataError, match=f"--classes {file}: class name 'a' has two"):
        read_classes(str(file))


def test_many_class_names_are_more_than_a_path_may_be_long() -> None:
    names = tuple(f"class {number}" for number in range(2000))
    assert read_classes(",".join(names)) == names


def test_an_image_that_cannot_be_read_is_a_row_and_is_counted(
    delta: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    Image.new("RGB", (9, 9)).save(tmp_path / "b.png")
    out = tmp_path / "rows.csv"
    words = [str(tmp_path), "photos/none.png", "--top", "1", "--batch-size", "2"]
    assert main(["predict", str(delta), *words, "--out", str(out)]) == 0
    broken, good, missing = rows(out.read_text())
    assert broken["error"].startswith("not a readable image (")
    assert (broken["path"], broken["class_1"], broken["probability_1"]) == (
        str(tmp_path / "a.png"),
        "",
        "",
    )
    assert good["class_1"].startswith("digit ")
    assert (missing["path"], missing["error"]) == ("photos/none.png", "no such image")
    assert "3 images, 2 could not be read (see the column error); " in capsys.readouterr().err


def test_where_no_image_can_be_read_the_rows_are_written_and_the_command_fails(
    delta: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rows.csv"
    assert main(["predict", str(delta), "none.png", "no/2.png", "--out", str(out)]) == 2
    assert [row["error"] for row in rows(out.read_text())] == ["no such image"] * 2
    assert "none of 2 images could be read" in capsys.readouterr().err


def test_where_no_image_is_found_the_command_fails(
    delta: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("")
    assert main(["predict", str(delta), str(tmp_path)]) == 2
    assert ".tiff .webp" in capsys.readouterr().err


def test_images_come_in_the_order_of_the_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = find_images(["photos/z.png", str(tmp_path), "photos/more", "photos/1.png", "x" * 5000])
    names = ["photos/z.png", "photos/more/3.png", "photos/more/4.png", "photos/1.png"]
    assert found == [Path(name) for name in (*names, "x" * 5000)]
    assert capsys.readouterr().err == f"{tmp_path}: has no images\n"


def test_files_of_folders_that_are_no_images_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [*(f"{n}.HEIC" for n in range(3)), "a.avif", "more", ".hidden", "Thumbs.db", "x.jfif"]
    for name in names:
        (tmp_path / name).touch()
    assert find_images([str(tmp_path), "photos/none.heic"]) == [
        tmp_path / "x.jfif",
        Path("photos/none.heic"),
    ]
    assert capsys.readouterr().err == (
        f"{tmp_path}: files of other formats are passed over: .heic 3, .avif 1, no suffix 1\n"
    )


@pytest.mark.parametrize("options", REFUSED["options"])
def test_options_that_cannot_be_used_are_refused(
    here: Path, options: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "folder.csv").mkdir(exist_ok=True)
    assert main(["predict", "mine", "photos", *options.split()]) == 2
    said = capsys.readouterr()
    assert REFUSED["options"][options] in said.err
    assert said.out == ""


def test_the_device_that_is_asked_for_is_taken(
    delta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    here = torch.device("cpu")
    choose = "study.serving.classifier.choose_device"

    def choose_here(name: str) -> torch.device:
        asked.append(name)
        return here

    monkeypatch.setattr(choose, choose_here)
    assert main(["predict", str(delta), "photos/1.png"]) == 0
    assert main(["predict", str(delta), "photos/1.png", "--device", "mps"]) == 0
    assert asked == ["auto", "mps"]


def test_images_are_encoded_in_batches_of_the_size_that_is_asked_for(
    delta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    encode = TunedClassifier.batch_probabilities

    def counted(self: TunedClassifier, pixels: Any) -> torch.Tensor:
        sizes.append(len(pixels))
        return encode(self, pixels)

    monkeypatch.setattr(TunedClassifier, "batch_probabilities", counted)
    assert main(["predict", str(delta), "photos", "--batch-size", "2"]) == 0
    assert main(["predict", str(delta), "photos"]) == 0
    assert sizes == [2, 2, 1, 5]


def test_a_fault_half_way_leaves_an_earlier_file_as_it_was(
    delta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "rows.csv"
    out.write_text("before")

    def fail(self: TunedClassifier, pixels: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(TunedClassifier, "batch_probabilities", fail)
    assert main(["predict", str(delta), "photos", "--out", str(out)]) == 2
    assert out.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


@pytest.mark.parametrize(("few", "is_table"), [(20, True), (4, False)])
def test_a_terminal_gets_a_table_of_a_few_images_and_csv_of_many(
    delta: Path,
    few: int,
    is_table: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(image_labels, "FEW", few)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True)
    assert main(["predict", str(delta), "photos"]) == 0
    said = capsys.readouterr()
    assert ("│ photos/more/3.png │" in said.out) == is_table
    assert said.out.startswith("path,class_1,") != is_table
    assert is_table or len(rows(said.out)) == 5
    assert "labelling" in said.err
    assert "labelling" not in said.out


def test_a_path_is_no_formula_and_names_are_as_they_are() -> None:
    for name in ("=1+2.png", "+1.png", "-1.png", "@a.png", "\t=1.png"):
        path, best, probability, error = csv_row(LabelledImage(Path(name), (("=class", 0.5),)), 1)
        assert path == f"./{name}"
        assert Path(str(path)) == Path(name)
        assert (best, probability, error) == ("=class", 0.5, None)
    assert csv_row(LabelledImage(Path("a/=1.png"), error="no"), 1) == ["a/=1.png", None, None, "no"]


def test_bytes_of_a_path_that_are_no_text_are_shown_as_numbers() -> None:
    assert format_path(Path(os.fsdecode(b"a\xff.png"))) == "a\\xff.png"
    assert format_path(Path("ä.png")) == "ä.png"


def test_a_table_has_a_column_of_faults_only_where_there_are_some() -> None:
    good = LabelledImage(Path("a.png"), (("cat", 0.911), ("dog", 0.05)))
    broken = LabelledImage(Path("b.png"), error="no such image")
    assert labels_table([good], 2).header == ["path", "class 1", "class 2"]
    both = labels_table([good, broken], 2)
    assert both.header == ["path", "class 1", "class 2", "error"]
    assert both.texts == [
        ["a.png", "cat 91.1 %", "dog 5.0 %", ""],
        ["b.png", "–", "–", "no such image"],
    ]
