"""Odd datasets of one's own through the command line: fine, or one message that names the place.

A message has exit code 2, and nothing is left behind. What may not be meant is accepted with a
warning, and told once.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
from bad_data import MOST_PIXELS, make_bad_data
from PIL import Image

from study.method.backbone import load_backbone
from study.run import main

WITHOUT_A_PLACE = re.compile(r"Traceback|codec|Errno|Exception|\w+Error\b|NoneType|<class")
"""What the sentences of libraries have, and plain words have not."""
UNSEEN = "the embedded backbone has seen printed characters"
"""The beginning of a warning about photographs, which all of these datasets get."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder to work in, with all datasets in ``bad``."""
    place = tmp_path_factory.mktemp("place")
    (place / "bad").mkdir()
    make_bad_data(place / "bad")
    with pytest.MonkeyPatch.context() as patch:
        # Each check loads the checkpoint, which takes most of its time.
        patch.setattr("study.workflow.check.load_backbone", cache(load_backbone))
        yield place


Check = Callable[..., SimpleNamespace]


@pytest.fixture
def check(place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Check:
    """Return a function that checks a study of a dataset; nothing may be left behind."""
    monkeypatch.chdir(place)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", MOST_PIXELS)

    def check(root: str, *more: str) -> SimpleNamespace:
        before = {*place.rglob("*")}
        words = ["quickstart", "data.dataset=x", f"data.root=bad/{root}"]
        code = main([*words, "data.shots=2", "data.val_shots=1", *more, "--check"])
        printed = capfd.readouterr()
        assert {*place.rglob("*")} == before, "something was left behind"
        return SimpleNamespace(code=code, out=printed.out, err=printed.err)

    return check


def warnings_in(out: str) -> list[str]:
    """Return what stands after the facts of a study that is well."""
    lines = out.partition("all is well")[2].splitlines()[1:]
    return [line for line in lines if not line.startswith(UNSEEN)]


FINE = (
    *("ok", "weirdcls", "brace", "html", "numcls", "joined", "jfif", "mixed", "coco", "many"),
    *("abs.csv", "heads2.csv", "spaces.csv", "nan.csv", "intcls.csv", "floatcls.csv"),
    *("splitval.csv", "splitcase.csv", "cr.csv", "tab.csv", "bom_semi.csv"),
)
"""Datasets that are as they should be, if unusual."""


@pytest.mark.parametrize("root", FINE)
def test_what_is_right_is_accepted_without_a_warning(check: Check, root: str) -> None:
    ran = check(root)
    assert ran.code == 0, ran.err
    assert ran.err == ""
    assert warnings_in(ran.out) == []


WARNED: dict[str, tuple[str, ...]] = {
    "onepx": ("in two classes (cat/1.jpg = ", "among the test images and among those to learn"),
    "black": ("x: 1 image is in two classes (", "x: 1 image is among the test images"),
    "validonly": ("x: 30 images are among the test images and among those to learn from (valid/",),
    "hidden": ("x: 1 hidden folder is not read, though there are images in it (.dog)",),
    "loose": ("x: 1 image is beside class folders and not read (cover.jpg)",),
}
"""Datasets that may not be meant, and a part of each warning."""


@pytest.mark.parametrize("root", WARNED)
def test_what_may_not_be_meant_is_accepted_with_warnings(check: Check, root: str) -> None:
    ran = check(root)
    assert ran.code == 0, ran.err
    assert ran.err == ""
    warnings = warnings_in(ran.out)
    assert len(warnings) == len(WARNED[root]), warnings
    for warning, part in zip(warnings, WARNED[root], strict=True):
        assert part in warning


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # pytest resets filters
def test_a_large_image_is_told_in_one_line_of_ours(check: Check) -> None:
    ran = check("big")
    assert ran.code == 0, ran.err
    assert ran.err == ""
    assert ran.out.count("pixels: ship/wide.png (60 × 50)") == 1


IMAGES = "error: data: {} images cannot be read: "
REFUSED: dict[str, tuple[str, ...]] = {
    "oneimg": ("data: x: a class needs at least 2 images", "too small: 'ship' (1)"),
    "case": ("data: x: classes that CLIP reads as the same text: 'Cat' and 'cat'",),
    "nfc": ("data: x: classes that CLIP reads as the same text: 'cafe\u0301' and 'café'",),
    "tok": ("data: x: class names that the backbone's", "reads: '<|endoftext|>' (<|endoftext|>);"),
    "tokens": ("data: x: class names", "'a <|startoftext|> cat' (<|startoftext|>); rename"),
    "control": ("data: x: class names with control", r"'d\tog' (U+0009), 'sh\nip' (U+000A)"),
    "unseen": ("data: x: class names with", r"'dog\u200b' (U+200B), 'ship\u202e' (U+202E)"),
    "under": ("data: bad/under: the folders 'big cat' and 'big_cat' would be one class",),
    "long": ("data.templates: prompt 'a photo of a very-long-name very", "tokens"),
    "bytes": (r"data: bad/bytes: folders with names that are not UTF-8: 'c\udcff'",),
    "allzero": (IMAGES.format("30 of 30"), "bad/allzero/cat/6.jpg: not a readable image (it is"),
    "zero": (IMAGES.format("6 of 30"), "bad/zero/cat/4.jpg: not a readable image (it is empty)"),
    "strip": (IMAGES.format("3 of 33"), "bad/strip/cat/9.png: an image of 1 × 1500 pixels"),
    "bomb": (IMAGES.format("1 of 31"), "bad/bomb/ship/vast.png: has more than 4,000 pixels"),
    "trunc30": (IMAGES.format("12 of 30"), "bad/trunc30/cat/1.jpg: not a readable image ("),
    "pdf": (IMAGES.format("1 of 31"), "bad/pdf/cat/x.jpg: not a readable image (it begins like"),
    "float": (IMAGES.format("10 of 30"), "bad/float/cat/6.tif: has floating-point numbers"),
    "fifo": (IMAGES.format("1 of 31"), "bad/fifo/cat/p.jpg: not a file but a named pipe"),
    "dirjpg": (IMAGES.format("1 of 31"), "bad/dirjpg/cat/folder.jpg: not a file but a folder"),
    "onlyheic": ("data: bad/onlyheic: no images (.bmp .gif", "in 'cat', 'dog', 'ship'"),
    "noext": ("data: bad/noext: no images (.bmp .gif", "in 'cat', 'dog', 'ship'"),
    "deep": ("bad/deep: no images", "in 'cat'; the images in 'cat/2024/may' are too deep: move"),
    "v2": ("bad/v2: no images", "in 'valid'; the images in 'valid/cat' are too deep"),
    "imgs": ("bad/imgs: no images", "; data.root=bad/imgs/images (classes 'cat', 'dog', 'ship')"),
    "imgs/images/cat": ("cat: no class folders", "; data.root=bad/imgs/images (classes 'cat', "),
    "zipped": ("bad/zipped: no images", "in 'pets'; data.root=bad/zipped/pets/pets (classes"),
    "several": ("bad/several: no images", "data.root=bad/several/one (", "=bad/several/two ("),
    "linkdir": ("not in bad/linkdir, or led out of it by", "3 of 9 test images, 'ship/2.jpg'"),
    "linkimg": ("not in bad/linkimg, or led out of it by", "9 of 9 test images, 'cat/1.jpg'"),
    "latin.csv": ("bad/latin.csv: cannot be read (it is not text in UTF-8, as it has", "0xe9"),
    "win.csv": (
        "bad/win.csv, row 1: path 'C:\\\\data\\\\ok\\\\cat\\\\0.jpg' is not inside",
        "2, 3",
    ),
    "blankline.csv": ("bad/blankline.csv, row 5: is blank; remove it (override",),
    "noname.csv": ("bad/noname.csv, row 8: has no class name",),
    "splitbad.csv": ("bad/splitbad.csv, row 1: split 'testing'; allowed: train, val", "rows 3, 5"),
    "splitempty.csv": ("bad/splitempty.csv: 10 rows have no split (3, 6, 9", "all or none"),
    "http.csv": ("none of the 15 training images that are listed is in bad: 'https:/x.org/ok/",),
    "dupcol.csv": ("bad/dupcol.csv: two columns have one name; got 'path', 'class_name', 'clas",),
    "nul.csv": (r"bad/nul.csv, row 3: class name 'c\x00at' has a zero byte",),
    "twice.csv": ("bad/twice.csv, row 31: 'ok/cat/3.jpg' is listed twice, in row 4 too",),
    "conflict.csv": (
        "bad/conflict.csv, row 31: 'ok/cat/3.jpg' has conflicting labels, 'ship' here and 'cat' in "
        "row 4; allowed is one",
    ),
}
"""Datasets that no study can use, and parts of the message."""


@pytest.mark.parametrize("root", REFUSED)
def test_what_cannot_be_used_is_told_with_its_place(check: Check, root: str) -> None:
    ran = check(root)
    assert ran.code == 2, ran.out
    assert ran.err.count("error: ") == 1, "one message"
    assert ran.err.count("\n  ") == ("the study cannot start" in ran.err), "one fault"
    assert len(ran.err) < 2000
    assert ran.err.replace("\n", "").isprintable()
    assert not WITHOUT_A_PLACE.search(ran.err), ran.err
    for part in REFUSED[root]:
        assert part in ran.err


def test_all_faults_are_in_one_message(check: Check) -> None:
    ran = check("several.csv", "backbone.name=bad/nowhere", "confirm.seeds=[1,1]")
    assert ran.code == 2
    assert ran.err.count("error: ") == 1
    for part in (
        "bad/several.csv, row 31: is blank",
        "bad/several.csv, row 32: 'ok/cat/3.jpg' has conflicting labels",
        "bad/several.csv, row 33: path '../x.jpg' is not inside",
        "bad/nowhere",
        "confirm: seeds [1, 1]",
    ):
        assert part in ran.err


@pytest.mark.parametrize("root", ["allzero", "zero"])
def test_empty_files_are_told_once(check: Check, root: str) -> None:
    ran = check(root)
    assert warnings_in(ran.out) == []
    assert "cat/" not in ran.out
    assert ran.err.count("cat/4.jpg") == 1


def test_empty_files_that_are_left_out_are_told_once(check: Check) -> None:
    ran = check("zero", "data.on_corrupt=skip")
    assert ran.code == 0, ran.err
    assert ran.out.count("cat/4.jpg") == 1
    assert warnings_in(ran.out) == []
