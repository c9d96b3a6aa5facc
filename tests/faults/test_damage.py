"""Files that were cut, flipped or overwritten: found out, named, and where possible made again."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from study.data.images.table import ImageTable
from study.embedded import EMBEDDED, backbone_path
from study.storage.study_folder import StudyFolder
from tests.damage import cut, flip, overwrite
from tests.real_study import results

from .conftest import Drivers

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

SMALL = ["quickstart", "name=mine", "search.trials=12", "training.epochs=4", "data.shots=4"]
SMALL += ["test.seeds=[1,2]", "test.runners_up=0", "search.selection=holdout"]
SMALL += ["search.sampler=random", "search.asha.reduction_factor=20"]
SMALL += ["final.images=shots"]
SPOILED: dict[str, Callable[[Path], None]] = {
    "trials/search-0001/reports.jsonl": lambda path: flip(path, b'"val_score": 0.'),
    "trials/search-0002/end.json": cut,
    "trials/search-0005/delta.safetensors": flip,
    "trials/search-0006/reports.jsonl": cut,
    "trials/search-0007/delta.safetensors": flip,
    "trials/search-0008/delta.safetensors": flip,
    "trials/test-{ln}-seed1/delta.safetensors": flip,
    "trials/test-{clipfit}-seed2/predictions.parquet": flip,
    "trials/test-{bitfit}-seed1/predictions.parquet": overwrite,
    "candidates.json": overwrite,
    "registered.json": cut,
    "results.parquet": overwrite,
    "optuna.journal": cut,
    "shots/shots-4-seed-1.jsonl": flip,
    "shots/shots-4-seed-2.jsonl": cut,
}


class Spoiled:
    """A study that ended, all of whose kinds of files were damaged, and that was resumed."""

    def __init__(self, place: Path, drivers: Drivers):
        self.place, self._drivers = place, drivers
        backbone = place / "backbone"
        shutil.copytree(backbone_path(EMBEDDED), backbone)
        self.folder = StudyFolder(place / "runs" / "mine")
        self.run(*SMALL, f"backbone.name={backbone}")
        self.before = results(self.folder)
        self.predicted = self._contents("trials/*/*.parquet")
        self.shots = self._contents("shots/*")
        self.images = {path: path.read_bytes() for path in place.glob("runs/.images/*.arrow")}
        self.candidates = self.folder.read_json("candidates.json")
        trainings = {c["label"]: c["training"] for c in self.candidates}
        self.spoiled = {name.format(**trainings): spoil for name, spoil in SPOILED.items()}
        for name, spoil in self.spoiled.items():
            spoil(self.folder.path / name)
        for path in self.images:
            flip(path)
        for path in self.folder.path.glob("shots/tasks-*"):
            cut(path)
        weights = backbone / "model.safetensors"
        whole = weights.read_bytes()
        flip(weights)
        self.output = self.run("resume", "mine", status=2)
        weights.write_bytes(whole)
        trial = self.folder.trial(f"test-{trainings['clipfit']}-seed1")
        self.lost = trial.trial_id
        flip(trial.path / "config.json")
        self.output += self.run("resume", "mine", status=2)
        shutil.rmtree(trial.path)
        self.output += self.run("resume", "mine")

    def run(self, *arguments: str, status: int = 0) -> str:
        """Run the command line; give what it said."""
        ended, output = self._drivers.run(list(arguments), self.place)
        assert ended == status, output
        assert "Traceback" not in output
        return output

    def _contents(self, pattern: str) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in self.folder.path.glob(pattern)}


@pytest.fixture(scope="module")
def spoiled(drivers: Drivers, tmp_path_factory: pytest.TempPathFactory) -> Spoiled:
    return Spoiled(tmp_path_factory.mktemp("spoiled"), drivers)


def test_it_is_whole_again_with_the_same_results(spoiled: Spoiled):
    assert results(spoiled.folder) == spoiled.before
    assert spoiled._contents("trials/*/*.parquet") == spoiled.predicted
    assert spoiled._contents("shots/*") == spoiled.shots
    assert spoiled.folder.read_json("candidates.json") == spoiled.candidates
    for path, contents in spoiled.images.items():
        assert path.read_bytes() == contents
        ImageTable(path)
    table = pq.read_table(spoiled.folder.path / "results.parquet").to_pandas()
    assert {*table["trial_id"]} == spoiled.before.keys()


def test_it_names_what_was_damaged_and_what_must_be_put_back(spoiled: Spoiled):
    output = " ".join(spoiled.output.split())
    views = {"results.parquet", "optuna.journal"}  # made anew in any case
    for name in {*spoiled.spoiled} - views:
        assert all(part in output for part in name.split("/")[-2:]), name
    for path in spoiled.images:
        assert path.name in output
    assert f"{spoiled.lost}/config.json" in output.replace(" ", "")
    assert "the backbone's files have changed since 'mine' began, or are damaged" in output
