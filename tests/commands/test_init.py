"""A configuration for a folder passes the check as it is, whatever is in the folder."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image

from study.commands.main import main
from study.config.loading import load_config
from study.config.shipped import shipped_file
from tests.case_tables import from_table
from tests.commands.conftest import PHOTOS, Run
from tests.config.test_json_schema import VALIDATOR
from tests.not_none import not_none

QUICKSTART = not_none(shipped_file("quickstart"))


def fill(root: Path, **images: int) -> Path:
    """Make a folder of each class, with so many images in it."""
    for label, (name, count) in enumerate(images.items()):
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (8, 8), (number, 0, label)).save(root / name / f"{number}.png")
    return root


@from_table
def test_the_file_passes_the_check_and_the_schema(
    name: str, images: dict[str, int], trials: int, here: Path, run: Run, mlflow_store: str
):
    fill(here / name, **images)
    told = run("init", name, "backbone.name=embedded", f"tracking.uri={mlflow_store}").out
    written = yaml.safe_load(Path("study.yaml").read_text())
    assert "study.yaml: 2 classes; images: " in told
    assert written["search"]["trials"] == trials
    assert written["data"]["root"] == str(here / name)
    VALIDATOR.validate(written)
    checked = run("run", "study.yaml", "--check")
    assert checked.code == 0, checked.err


def test_a_checkpoint_that_cannot_be_had_is_told(here: Path, refused: Callable[..., str]):
    fill(here / "pets", a=3, b=3)
    # The tests are offline, and nothing of this name is in any cache.
    assert "nobody/clip" in refused("init", "pets", "backbone.name=nobody/clip")
    assert not Path("study.yaml").exists()


def test_the_search_has_the_ranges_of_its_checkpoint(here: Path, run: Run, siglip: str):
    fill(here / "pets", a=9, b=9)
    for backbone, file in (("backbone.name=embedded", QUICKSTART), (siglip, PHOTOS)):
        run("init", "pets", backbone, "--out", f"{file.stem}.yaml")
        written, shipped = load_config(Path(f"{file.stem}.yaml")), load_config(file)
        assert written.search.space == shipped.search.space


@pytest.mark.long
def test_a_time_can_be_measured_and_values_may_be_given(here: Path, run: Run, siglip: str):
    fill(here / "pets", a=9, b=9)
    words = ("init", "pets", "data.shots=2", "data.val_shots=1", "--out", "mine.yaml")
    run(*words, "backbone.name=embedded", "--estimate")
    assert "above what is measured: about " in " ".join(Path("mine.yaml").read_text().split(" # "))
    Path("mine.yaml").unlink()
    run(*words, siglip)
    written = yaml.safe_load(Path("mine.yaml").read_text())
    assert (written["data"]["shots"], written["search"]["baselines"]) == (2, {"projection": None})


@from_table
def test_a_fault_is_told_and_nothing_is_written(
    words: list[str], fault: str, here: Path, refused: Callable[..., str]
):
    fill(here / "pets", a=3, b=3)
    fill(here / "$HOME", a=3, b=3)
    fill(here / "single", a=3)
    (here / "empty").mkdir()
    (here / "taken.yaml").touch()
    assert fault in refused("init", *words, "backbone.name=embedded")
    assert [path.name for path in here.glob("*.yaml")] == ["taken.yaml"]


def test_a_folder_is_named(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["init"])
    assert "required: FOLDER" in capsys.readouterr().err
