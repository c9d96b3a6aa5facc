"""A configuration for a folder passes the check as it is, whatever is in the folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from study.commands.init import LONGEST, SHORTEST, suited_plans
from study.data.images.sources import FolderSource
from study.data.records import Dataset, Record
from tests.commands.conftest import Run
from tests.config.test_json_schema import VALIDATOR


def fill(root: Path, **images: int) -> Path:
    """Make a folder of each class, with so many images in it."""
    for label, (name, count) in enumerate(images.items()):
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (8, 8), (number, 0, label)).save(root / name / f"{number}.png")
    return root


@pytest.mark.parametrize(
    "name, images, trials",
    [
        ("digits", {"a": 2, "b": 40}, 0),
        ('it\'s "#1": \n- é', {"a": 3, "b": 3}, 24),
        ("many", {"#a": 33, "bb: c": 90}, 24),
    ],
)
def test_the_file_passes_the_check_and_the_schema(
    name: str, images: dict[str, int], trials: int, here: Path, run: Run, mlflow_store: str
):
    fill(here / name, **images)
    message = run("init", name, "backbone.name=embedded", f"tracking.uri={mlflow_store}").out
    written = yaml.safe_load(Path("study.yaml").read_text())
    assert "study.yaml: 2 classes; images: " in message
    assert written["search"]["trials"] == trials
    assert written["data"]["root"] == str(here / name)
    VALIDATOR.validate(written)
    checked = run("run", "study.yaml", "--check")
    assert checked.code == 0, checked.err


@pytest.mark.parametrize(
    "line, fault",
    [
        ("nowhere", "no file or folder there"),
        ("single", "tested on one class alone"),
        ("pets nosuch", "not of the form section.field=value"),
        ("pets --out taken.yaml", "taken.yaml exists; expected a new file"),
        ("pets --out away/study.yaml", "away/study.yaml cannot be written"),
        # The tests are offline, and nothing of this name is in any cache.
        ("pets backbone.name=nobody/clip", "nobody/clip"),
    ],
)
def test_a_fault_is_reported_and_nothing_is_written(
    line: str, fault: str, here: Path, refused: Callable[..., str]
):
    fill(here / "pets", a=3, b=3)
    fill(here / "single", a=3)
    (here / "taken.yaml").touch()
    embedded = [] if "backbone" in line else ["backbone.name=embedded"]
    assert fault in refused("init", *line.split(), *embedded)
    assert [path.name for path in here.glob("*.yaml")] == ["taken.yaml"]


def make_dataset(train: list[int], val: list[int]) -> Dataset:
    """Return a dataset with so many images of each class."""
    first, second = (
        tuple(Record(str(n), label) for label, count in enumerate(split) for n in range(count))
        for split in (train, val)
    )
    names = tuple(map(str, range(len(train))))
    return Dataset("pets", names, (), first, second, first, FolderSource(Path()))


@pytest.mark.parametrize(
    "train, val, suited",
    [
        ([40, 16], [10, 4], {"data.shots": 16, "data.val_shots": 4}),
        ([40, 16], [], {"data.shots": 16, "data.val_shots": 0}),
        ([9, 9, 9, 9, 8, 8], [1] * 6, {"data.shots": 8, "data.val_shots": 1}),
        ([3, 90], [1, 2], {"data.shots": 16, "data.val_shots": 1, "data.short": "take_all"}),
    ],
)
def test_shots_are_those_that_the_smallest_class_has(
    train: list[int], val: list[int], suited: dict[str, Any]
):
    base, choices = next(suited_plans(make_dataset(train, val)))
    of_images = {key: choices[key] for key in choices if key.startswith("data")}
    assert (base, of_images) == ("photos", suited)


def test_more_classes_have_more_minutes():
    minutes = []
    for classes in (2, 10, 1000):
        _, values = next(suited_plans(make_dataset([20] * classes, [])))
        minutes.append(values["search.minutes"])
    assert minutes[0] >= SHORTEST
    assert [*dict.fromkeys(minutes)] == sorted(minutes)
    assert minutes[-1] == LONGEST
