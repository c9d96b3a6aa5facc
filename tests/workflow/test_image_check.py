"""A look at images before a study: all, or a sample, and what is said of those at fault."""

from pathlib import Path
from typing import Any

import pytest
from miniature import draw
from rich.console import Console

from study.config.loading import build_config
from study.errors import DataError
from study.storage.ledger import StudyFolder
from study.trial.study import Study
from study.workflow import image_check
from study.workflow.image_check import check_images


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Twenty images of two classes, in folders of splits."""
    for split in ("train", "test"):
        for label, name in enumerate(("cat", "dog")):
            folder = tmp_path / "pets" / split / name
            folder.mkdir(parents=True)
            for number in range(5):
                draw(label, number).save(folder / f"{number}.png")
    return tmp_path / "pets"


def study(images: Path, **data: Any) -> Study:
    values = {"dataset": "pets", "root": str(images), "shots": 1, **data}
    storage = images.parent / "runs"
    config = build_config({"name": "mine", "storage": str(storage), "data": values}, "here")
    return Study(config, StudyFolder(storage / "mine"))


def spoil(images: Path, *names: str) -> None:
    for name in names:
        path = images / name
        path.write_bytes(path.read_bytes()[:60])


def test_all_images_or_a_sample_of_them_are_decoded(
    images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(image_check, "SAMPLE", 3)
    check_images(study(images), Console(), every=False)
    assert "images that were decoded: a sample of 3" in capsys.readouterr().out
    spoil(images, "test/dog/4.png")
    with pytest.raises(DataError, match=r"1 of 20 images cannot be read: .*test/dog/4\.png"):
        check_images(study(images), Console(), every=True)
    assert not (images.parent / "runs").exists(), "nothing is written"


def test_a_fault_names_what_can_be_done(images: Path) -> None:
    spoil(images, "train/cat/1.png", "test/cat/0.png")
    with pytest.raises(DataError) as raised:
        check_images(study(images), Console(), every=False)
    text = str(raised.value)
    assert text.startswith("data: 2 of 20 images cannot be read: ")
    assert text.endswith("data.on_corrupt=skip leaves such images out; --check --images tries all")


def test_what_a_study_leaves_out_is_told_and_no_fault(
    images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(images, "train/cat/1.png")
    check_images(study(images, on_corrupt="skip"), Console(width=200), every=True)
    out = capsys.readouterr().out
    assert "1 of 20 images cannot be read: " in out
    assert "the study leaves them out" in out


def test_the_images_of_targets_are_looked_at_too(
    images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = build_config(
        {
            "name": "mine",
            "protocol": "transfer",
            "storage": str(images.parent / "runs"),
            "data": {"dataset": "digits", "targets": ["glyphs"], "shots": 1},
        },
        "here",
    )
    check_images(Study(config, StudyFolder(config.storage / "mine")), Console(), every=False)
    assert "a sample of 128" in capsys.readouterr().out
