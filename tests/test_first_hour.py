"""The first hour of a new user: a folder of images becomes labels, and a server.

The package comes from a wheel of this checkout, in a fresh environment. To save minutes and a
network, the environment has its libraries from the one that runs these tests; so this does not
show that pip can install them. Images and backbone come with the package.
"""

import csv
import re
import subprocess
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
EACH, NEW = 20, 10
"""The images of each class to learn from, and to label."""
STUDY = (
    *("run", "photos", "name=first-hour", "data.root=pets", "backbone.name=embedded"),
    *("data.augment=false", "training.epochs=8", "test.seeds=[1,2]", "test.runners_up=0"),
    *("search.trials=6", "search.selection=holdout", "search.folds=null"),
    *("search.baselines.projection=null", "search.baselines.clap=null"),
    *("search.baselines.two_stage=null", "search.baselines.bitfit=null"),
    *("search.baselines.ln=null", "search.baselines.linear=null"),
    *("search.heads=[text]", "search.space.rates={bias: [0.01, 0.4], ln: [0.01, 0.4]}"),
)


def write_images(place: Path) -> list[str]:
    """Write images to learn from into ``pets`` and others into ``new``; return the new ones."""
    dataset, count = load_dataset("digits"), dict.fromkeys(CLASSES, 0)
    (place / "new").mkdir()
    (place / "new" / "25-broken.png").write_bytes(b"no image")
    for record in dataset.test:
        name = dataset.class_names[record.label]
        number = count.get(name, EACH + NEW)
        if number == EACH + NEW:
            continue
        count[name] += 1
        small = dataset.source.open_image(record.path)
        image = small.resize((48, 40), Image.Resampling.BICUBIC)
        learned = place / "pets" / name / f"{number:02d}.png"
        learned.parent.mkdir(parents=True, exist_ok=True)
        image.save(learned if number < EACH else place / "new" / f"{number}-{name.split()[1]}.png")
    return sorted(f"new/{path.name}" for path in (place / "new").iterdir())


def test_a_folder_of_images_becomes_labels(tmp_path: Path):
    pytest.importorskip("hatchling", reason="a wheel is built without a network by hatchling")
    programs, new = with_wheel(tmp_path / "installed"), write_images(tmp_path)

    def start(program: str, *words: str) -> "subprocess.CompletedProcess[str]":
        command = [str(programs / program), *words]
        done = subprocess.run(
            command, cwd=tmp_path, env=outside(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        return done

    package = start("python", "-c", "import study; print(study.__file__)").stdout
    assert Path(package.strip()).is_relative_to(programs.parent), "it is that of the wheel"
    finished = start("clipfit-study", *STUDY).stdout
    assert "search   6/6 done" in finished
    assert "\n best " in finished
    assert "models:/clipfit-photos@champion" in finished
    assert "★" in start("clipfit-study", "leaderboard", "first-hour").stdout
    assert re.search("first-hour +finished", start("clipfit-study", "list").stdout)

    words = ("predict", "first-hour", "new", "--top", "4", "--out", "labels.csv")
    said = start("clipfit-study", *words).stderr
    assert "41 images, of which 1 could not be read" in said
    with (tmp_path / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == new
    assert [row["path"] for row in rows if row["error"]] == ["new/25-broken.png"]
    readable = [row for row in rows if not row["error"]]
    right = [row["class_1"].split()[1] in row["path"] for row in readable]
    assert sum(right) / len(right) > 0.7, "the backbone as it is gets 0.6"

    images = [encode_base64(Image.open(tmp_path / row["path"])) for row in readable]
    model, uri = "models:/clipfit-photos@champion", f"sqlite:///{tmp_path / 'mlflow.db'}"
    with served(model, uri, tmp_path / "serve.log", programs) as address:
        answers = ask(address, images)
    for answer, row in zip(answers, readable, strict=True):
        likely = {row[f"class_{n}"]: float(row[f"probability_{n}"]) for n in range(1, 5)}
        assert answer["class_name"] == row["class_1"]
        assert answer["probabilities"] == pytest.approx(likely, abs=1e-4)
