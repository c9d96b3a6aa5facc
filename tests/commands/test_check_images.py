"""A look at images before a study: what cannot be read, and what may be wrong of them."""

from pathlib import Path
from typing import Any

import pytest

from study.commands import check_images
from study.commands.check_images import dataset_warnings, decode_images, find_warnings
from study.config.loading import build_config
from study.data.datasets import load_dataset
from study.errors import FaultsError
from study.storage.result_folder import JsonObject
from study.storage.study_folder import StudyFolder
from study.trial.study import Study
from tests import miniature
from tests.miniature import image_folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return image_folder(tmp_path / "images")


def of(root: Path, **data: Any) -> JsonObject:
    """The section of a configuration that names a dataset."""
    return {"data": {"dataset": "mine", "root": str(root), "shots": 1, **data}}


def study(values: JsonObject) -> Study:
    return Study(build_config({"name": "mine", **values}, "here"), StudyFolder(Path("runs/mine")))


def warned(root: Path) -> list[str]:
    return [*dataset_warnings(load_dataset("mine", root))]


def copy(root: Path, source: str, *targets: str):
    for target in targets:
        (root / target).write_bytes((root / source).read_bytes())


def test_all_images_or_a_sample_are_decoded(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(check_images, "SAMPLE", 3)
    found = decode_images(study(of(root)), every=False)
    assert found.warnings == []
    assert found.facts[0].text.startswith("a sample of 3 images")
    damaged = [root / "train/cat/0.png", root / "test/dog/4.png"]
    for path in damaged:
        path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(FaultsError) as caught:
        decode_images(study(of(root)), every=True)
    (fault,) = caught.value.faults
    assert fault.key == "data"
    assert all(str(path) in fault.message for path in damaged)
    assert len(decode_images(study(of(root, on_corrupt="skip")), every=True).warnings) == 1


def test_each_warning_has_a_number_and_at_most_a_few_examples(root: Path):
    assert warned(root) == []
    for n in range(6):
        copy(root, f"train/cat/{n}.png", f"train/dog/{n}.png", f"test/cat/{n}.png")
    for n in range(6):
        (root / f"test/dog/{n}.png").unlink()
        (root / f"test/dog/{n}.png").symlink_to("nowhere")
    for line, number in zip(warned(root), ("6 of 24", "6", "6"), strict=True):
        assert line.startswith(f"{number} ")
        assert " and 1 more)" in line
    for image in (root / "test/dog").iterdir():
        image.unlink()
    assert "no test image is of 'dog' (1 of 2 classes)" in warned(root)[-1]


def test_another_number_than_was_published_is_warned_of_with_how_to_get_all(tmp_path: Path):
    miniature.make("dtd", tmp_path)
    (line,) = dataset_warnings(load_dataset("dtd", tmp_path))
    assert "the published dataset has 2820, 1128 and 1692" in line
    assert "Get it by" in line


CAUTION = "was trained on printed characters only"


def test_the_embedded_backbone_is_warned_of_with_images_that_are_no_characters(
    root: Path, tiny_backbone: Path
):
    def cautioned(protocol: str, backbone: object = "embedded", **data: Any) -> bool:
        values = {"protocol": protocol, "backbone": {"name": str(backbone)}, "data": data}
        lines = [line for line in find_warnings([study(values)]) if CAUTION in line]
        assert all("'mine'" in line for line in lines)
        return bool(lines)

    own = {"dataset": "mine", "root": str(root), "shots": 1}
    (root.parent / "mine").symlink_to(root)
    assert cautioned("few_shot", **own)
    assert cautioned("transfer", targets=["mine"], targets_root=str(root.parent))
    assert not cautioned("few_shot", tiny_backbone, **own)
    assert not cautioned("transfer", targets=["glyphs"])
