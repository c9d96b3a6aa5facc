"""Bad inputs on disk, and a few good ones beside them: images, tables, checkpoints, configurations.

All are made from a few drawn images and from the checkpoint that comes with the package.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from study.embedded import EMBEDDED, backbone_path
from tests.miniature import draw

CLASSES = ("cotton", "linen", "silk")
EACH = 12  # images of a class
WRITTEN = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())["written"]
"""Configurations that are written, with faults and without."""


def make_bad_inputs(root: Path):
    """Write everything below a folder; the names say what is wrong with each."""
    _write(root / "good", CLASSES)
    _make_damaged_images(root)
    _make_layouts(root)
    _make_hub_folders(root)
    (root / "headonly.csv").write_text("path,class_name\n")
    (root / "empty.csv").touch()
    (root / "notes.txt").write_text("no dataset")
    checkpoint = shutil.copytree(backbone_path(EMBEDDED), root / "ck_noprep")
    (checkpoint / "preprocessor_config.json").unlink()
    for name, text in WRITTEN.items():
        (root / name).write_text(text)


def _write(folder: Path, classes: Sequence[str], each: int = EACH) -> Path:
    """Draw images into a folder of class folders."""
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            draw(label, number).save(folder / name / f"{number:02d}.png")
    return folder


def _copy(root: Path, name: str) -> list[Path]:
    """Copy the good images; return six of them, of which one is for the test at least."""
    shutil.copytree(root / "good", root / name)
    return sorted((root / name).glob("cotton/*"))[:6]


def _make_damaged_images(root: Path):
    for file in _copy(root, "truncated"):
        whole = file.read_bytes()
        file.write_bytes(whole[:-100])
    for file in _copy(root, "zerobyte"):
        file.write_bytes(b"")
    for file in _copy(root, "gray16")[0].parents[1].glob("*/*"):  # 12 bits in files of 16
        grey = np.asarray(Image.open(file).convert("L")).astype(np.uint16) * 16
        Image.fromarray(grey).save(file)


def _make_layouts(root: Path):
    """Make folders that are laid out in other ways, and links."""
    _write(root / "emoji", ("🧵", "naïve"))
    _write(root / "longname", ("n" * 200, "b"))
    _write(root / "few", CLASSES, 2)
    (_copy(root, "emptyclass")[0].parents[1] / "zzz").mkdir()
    for split in ("train", "test"):
        _write(root / "leak" / split, CLASSES)
    first = _copy(root, "dupes")[0]
    shutil.copy(first, first.parents[1] / "silk" / "copy.png")
    file = _copy(root, "upward")[0]
    (file.parents[1] / "up").symlink_to("..")
    for file in _copy(root, "dangling"):
        file.unlink()
        file.symlink_to("nowhere.png")
    for file in _copy(root, "outside"):
        file.unlink()
        file.symlink_to(root / "good" / "cotton" / file.name)


def _make_hub_folders(root: Path):
    """Write folders of the library `datasets`, one of them with the same images in both splits."""
    import datasets

    datasets.disable_progress_bars()
    files = sorted((root / "good").glob("*/*"))
    cells = [{"bytes": file.read_bytes(), "path": None} for file in files]
    features = datasets.Features(
        image=datasets.Image(), label=datasets.ClassLabel(names=list(CLASSES))
    )
    labels = [CLASSES.index(file.parent.name) for file in files]
    table = datasets.Dataset.from_dict({"image": cells, "label": labels}, features=features)
    table.save_to_disk(root / "saved")
    datasets.DatasetDict({"train": table, "test": table}).save_to_disk(root / "savedleak")
