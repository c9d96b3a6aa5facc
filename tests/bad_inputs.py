"""Bad inputs on disk, and a few good ones beside them: images, tables, checkpoints, configurations.

All are made from a few drawn images and from the checkpoint that comes with the package.
"""

import csv
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

from study.embedded import EMBEDDED, backbone_path
from tests.miniature import draw

CLASSES = ("cotton", "linen", "silk")
EACH = 12  # images of a class
WRITTEN = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())["written"]
"""Configurations that are written, with faults and without."""
Row = Sequence[object]


def make_bad_inputs(root: Path):
    """Write everything below a folder; the names say what is wrong with each."""
    _write(root / "good", CLASSES)
    _make_damaged_images(root)
    _make_layouts(root)
    _make_tables(root)
    _make_hub_folders(root)
    _make_checkpoints(root)
    _make_configurations(root)


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
    _write(root / "trainonly" / "train", CLASSES)
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


def _make_tables(root: Path):
    def table(name: str, rows: Iterable[Row], head: Row = ("path", "class_name")):
        with (root / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([*([head] if head else []), *rows])

    images = sorted((root / "good").glob("*/*"))
    good = [(file.relative_to(root).as_posix(), file.parent.name) for file in images]
    train = [(path, label, "train") for path, label in good if path[-6:] < "08.png"]
    test = [(path, label, "test") for path, label in good if path[-6:] >= "08.png"]
    three = ("path", "class_name", "split")
    absent, web = "good/silk/99.png", "https://host.example/1.png"
    table("nohead", good, ())
    table("below", [(str(file.absolute()), file.parent.name) for file in images])
    table("half", [*train, *((path, label, "") for path, label, _ in test)], three)
    table("trainonly", [(path, label, "train") for path, label in good], three)
    table("missingtest", [*train, *test, (absent, "silk", "test")], three)
    table("missingtrain", [*train, *test, (absent, "silk", "train")], three)
    table("webtest", [*train, *test, (web, "silk", "test")], three)
    numbered = [(path, CLASSES.index(label) + 1, label) for path, label in good]
    table("label1", numbered, ("path", "label", "class_name"))
    table("labelonly", [row[:2] for row in numbered], ("path", "label"))
    table("headonly", [])
    table("backslash", [(path.replace("/", "\\"), label) for path, label in good])
    (root / "empty.csv").touch()
    (root / "latin1.csv").write_text("path,class_name\n1.png,tüll\n", encoding="latin-1")
    (root / "fake.parquet").write_text("no table")
    (root / "notes.txt").write_text("no dataset")


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


def _make_checkpoints(root: Path):
    source = Path(backbone_path(EMBEDDED))

    def copy(name: str) -> Path:
        shutil.copytree(source, root / f"ck_{name}")
        return root / f"ck_{name}"

    def with_weights(name: str, change: Callable[[dict[str, torch.Tensor]], object]):
        file = copy(name) / "model.safetensors"
        weights = load_file(file)
        change(weights)
        save_file(weights, file, {"format": "pt"})

    def with_config(name: str, section: str, **changes: object):
        file = copy(name) / "config.json"
        values = json.loads(file.read_text())
        (values[section] if section else values).update(changes)
        file.write_text(json.dumps(values))

    (copy("noconfig") / "config.json").unlink()
    (copy("noprep") / "preprocessor_config.json").unlink()
    file = copy("trunc") / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    bias = "text_model.encoder.layers.0.mlp.fc2.bias"
    with_weights("missing", lambda weights: weights.pop(bias))
    with_weights("extra", lambda weights: weights.update(extra=torch.zeros(3)))
    with_config("siglip", "", model_type="siglip")
    with_config("depth", "vision_config", num_hidden_layers=9)


def _make_configurations(root: Path):
    for name, text in WRITTEN.items():
        (root / name).write_text(text)
    (root / "utf16.yaml").write_text("seed: 1\n", encoding="utf-16")
