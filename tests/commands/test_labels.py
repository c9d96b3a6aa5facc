"""The images and class names that words give, and the rows of labels."""

import os
from pathlib import Path

import pytest
import yaml

from study.commands.labels import (
    csv_row,
    find_images,
    format_path,
    labels_table,
    read_classes,
)
from study.errors import DataError
from study.serving.labelling import LabelledImage

REFUSED = yaml.safe_load(Path(__file__).with_name("labels.yaml").read_text())


@pytest.mark.parametrize("text", REFUSED["classes"])
def test_class_names_that_cannot_be_told_apart_are_refused(text: str):
    with pytest.raises(DataError) as refused:
        read_classes(text)
    assert REFUSED["classes"][text] in str(refused.value)


@pytest.mark.parametrize(
    "contents, told",
    [
        (b"a\n\n", "gives 'a'"),
        (b"", "gives no names"),
        (b"\xff\n", "cannot"),
        (b"a\nb\na\n", "class name 'a' has two"),
    ],
)
def test_a_file_of_class_names_is_named_in_its_faults(tmp_path: Path, contents: bytes, told: str):
    file = tmp_path / "names.txt"
    file.write_bytes(contents)
    with pytest.raises(DataError, match=told) as refused:
        read_classes(str(file))
    assert str(file) in str(refused.value)


def test_many_class_names_are_more_than_a_path_may_be_long():
    names = tuple(f"class {number}" for number in range(2000))
    assert read_classes(",".join(names)) == names


def test_images_come_in_the_order_of_the_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for name in ("1.png", "z.png", "more/3.png", "more/4.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    words = [str(tmp_path / name) for name in ("z.png", "empty", "more", "1.png")]
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(words)]
    assert found == ["z.png", "more/3.png", "more/4.png", "1.png"]
    assert capsys.readouterr().err == f"{tmp_path / 'empty'}: has no images\n"


def test_files_of_folders_that_are_no_images_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    names = [*(f"{n}.HEIC" for n in range(3)), "a.avif", "more", ".hidden", "Thumbs.db", "x.jfif"]
    for name in names:
        (tmp_path / name).touch()
    found = find_images([str(tmp_path), str(tmp_path / "a.avif")])
    assert found == [tmp_path / "x.jfif", tmp_path / "a.avif"]
    assert capsys.readouterr().err == (
        f"{tmp_path}: files of other formats are passed over: .heic 3, .avif 1, no suffix 1\n"
    )


def test_a_path_is_no_formula_and_names_are_as_they_are():
    for name in ("=1+2.png", "+1.png", "-1.png", "@a.png", "\t=1.png"):
        row = csv_row(LabelledImage(Path(name), (("=class", 0.5),)), 1)
        assert row == [f"./{name}", "=class", 0.5, None]
    assert csv_row(LabelledImage(Path("a/=1.png"), error="no"), 1) == ["a/=1.png", None, None, "no"]


def test_bytes_of_a_path_that_are_no_text_are_shown_as_numbers():
    assert format_path(Path(os.fsdecode(b"a\xff.png"))) == "a\\xff.png"
    assert format_path(Path("ä.png")) == "ä.png"


def test_a_table_has_a_column_of_faults_only_where_there_are_some():
    good = LabelledImage(Path("a.png"), (("cat", 0.911), ("dog", 0.05)))
    broken = LabelledImage(Path("b.png"), error="no such image")
    assert labels_table([good], 2).header == ["path", "class 1", "class 2"]
    both = labels_table([good, broken], 2)
    assert [both.header, *both.texts] == [
        ["path", "class 1", "class 2", "error"],
        ["a.png", "cat 91.1 %", "dog 5.0 %", ""],
        ["b.png", "–", "–", "no such image"],
    ]
