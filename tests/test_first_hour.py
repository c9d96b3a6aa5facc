"""The first hour of a new user: a folder of images becomes labels, a server, and a plain CLIP.

The package comes from a wheel of this checkout, in a fresh environment. To save minutes and a
network, the environment has its libraries from the one that runs these tests; so this does not
show that pip can install them. Images and backbone come with the package.
"""

import csv
import re
import subprocess
from functools import cached_property
from pathlib import Path

import pytest
from PIL import Image

from study.data.datasets import load_dataset
from study.data.images.sources import encode_base64
from tests.environments import outside, with_wheel
from tests.serving_over_http import ask, served

pytestmark = [pytest.mark.long, pytest.mark.ci, pytest.mark.timeout(600)]

CLASSES = ("digit one", "digit four", "digit five", "digit nine")
"""Classes that the backbone as it is takes for each other: it gets 0.6 of their images right."""
EACH = 20
"""The images of each class to learn from."""
NEW = 10
"""The images of each class to label."""
BASELINES = "{projection: null, clap: null, two_stage: null, bitfit: null, ln: null, linear: null}"
STUDY = (
    *("run", "photos", "name=first-hour", "data.root=pets", "backbone.name=embedded"),
    *("data.augment=false", "training.epochs=8", "test.seeds=[1,2]", "test.runners_up=0"),
    *("search.trials=6", "search.selection=holdout", "search.folds=null"),
    f"search.baselines={BASELINES}",
    # A linear head is no part of a CLIP, so that an exported folder would not classify with it.
    *("search.heads=[text]", "search.space.rates={bias: [0.01, 0.4], ln: [0.01, 0.4]}"),
)


class Hour:
    """A folder in which a user works, who has the wheel installed."""

    def __init__(self, place: Path):
        self.place = place
        self.programs = with_wheel(place / "installed")
        dataset, count = load_dataset("digits"), dict.fromkeys(CLASSES, 0)
        for record in dataset.test:
            name = dataset.class_names[record.label]
            number = count.get(name, EACH + NEW)
            if number == EACH + NEW:
                continue
            count[name] += 1
            small = dataset.source.open_image(record.path)
            image = small.resize((48, 40), Image.Resampling.BICUBIC)
            learned = place / "pets" / name / f"{number:02d}.png"
            file = learned if number < EACH else place / "new" / f"{number}-{name.split()[1]}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            image.save(file)
        (place / "new" / "25-broken.png").write_bytes(b"no image")

    def start(self, *command: str | Path) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            command, cwd=self.place, env=outside(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        return done

    def study(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return self.start(self.programs / "clipfit-study", *words)

    @cached_property
    def finished(self) -> str:
        """What the study says until it ends."""
        return self.study(*STUDY).stdout

    @cached_property
    def labelled(self) -> "subprocess.CompletedProcess[str]":
        """The command that labels the new images, after which the file with the labels is there."""
        assert self.finished
        return self.study("predict", "first-hour", "new", "--top", "4", "--out", "labels.csv")

    @property
    def labels(self) -> list[dict[str, str]]:
        assert self.labelled
        with (self.place / "labels.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    @property
    def readable(self) -> list[dict[str, str]]:
        return [row for row in self.labels if not row["error"]]


@pytest.fixture(scope="module")
def hour(tmp_path_factory: pytest.TempPathFactory) -> Hour:
    pytest.importorskip("hatchling", reason="a wheel is built without a network by hatchling")
    return Hour(tmp_path_factory.mktemp("hour"))


def probabilities(row: dict[str, str]) -> dict[str, float]:
    return {row[f"class_{n}"]: float(row[f"probability_{n}"]) for n in range(1, len(CLASSES) + 1)}


def test_the_package_is_that_of_the_wheel(hour: Hour):
    found = hour.start(hour.programs / "python", "-c", "import study; print(study.__file__)")
    assert Path(found.stdout.strip()).is_relative_to(hour.programs.parent)


def test_the_study_ends_with_a_best_configuration_and_where_it_is(hour: Hour):
    assert "search   6/6 done" in hour.finished
    assert "\n best " in hour.finished
    assert "★" in hour.study("leaderboard", "first-hour").stdout
    assert "models:/clipfit-photos@champion" in hour.finished
    assert re.search("first-hour +finished", hour.study("list").stdout)


def test_images_are_labelled_in_order_and_none_is_dropped(hour: Hour):
    files = sorted(path.name for path in (hour.place / "new").iterdir())
    assert [row["path"] for row in hour.labels] == [f"new/{name}" for name in files]
    (broken,) = [row for row in hour.labels if row["error"]]
    assert broken["path"] == "new/25-broken.png"
    assert "not a readable image" in broken["error"]
    said = hour.labelled.stderr
    message = r"41 images, of which 1 could not be read .*, labelled by the final model of "
    assert re.search(message, said), said
    right = [row["class_1"].split()[1] in row["path"] for row in hour.readable]
    assert sum(right) / len(right) > 0.7, "the backbone as it is gets 0.6"


def test_the_served_model_gives_the_same_classes(hour: Hour):
    images = [encode_base64(Image.open(hour.place / row["path"])) for row in hour.readable]
    model, uri = "models:/clipfit-photos@champion", f"sqlite:///{hour.place / 'mlflow.db'}"
    with served(model, uri, hour.place / "serve.log", hour.programs) as address:
        answers = ask(address, images)
    assert [one["class_name"] for one in answers] == [row["class_1"] for row in hour.readable]
    for answer, row in zip(answers, hour.readable, strict=True):
        assert answer["probabilities"] == pytest.approx(probabilities(row), abs=1e-4)
