"""Files that were cut, flipped or overwritten: found out, named, and where possible made again."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pyarrow.parquet as pq
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from study.config.loading import load_config
from study.data.images.table import ImageTable
from study.embedded import EMBEDDED, backbone_path
from study.storage.study_folder import StudyFolder
from tests.damage import cut, flip, overwrite

from .conftest import Drivers

SMALL = ["quickstart", "name=mine", "search.trials=12", "training.epochs=4", "data.shots=4"]
SMALL += ["confirm.seeds=[1,2]", "confirm.runners_up=0", "search.selection=holdout"]
SMALL += ["search.sampler=random", "search.asha.reduction_factor=20"]
TIMED = ("seconds", "ended_at", "images_per_second")
SPOILED: dict[str, Callable[[Path], None]] = {
    "trials/search-0001/reports.jsonl": lambda path: flip(path, b'"val_score": 0.'),
    "trials/search-0002/end.json": cut,
    "trials/search-0005/delta.safetensors": flip,
    "trials/search-0006/reports.jsonl": cut,
    "trials/search-0007/delta.safetensors": flip,
    "trials/search-0008/delta.safetensors": flip,
    "trials/confirm-ln-seed1/delta.safetensors": flip,
    "trials/confirm-clipfit-seed2/predictions.parquet": flip,
    "trials/confirm-bitfit-seed1/predictions.parquet": overwrite,
    "candidates.json": overwrite,
    "registered.json": cut,
    "results.parquet": overwrite,
    "optuna.journal": cut,
    "shots/shots-4-seed-1.jsonl": flip,
    "shots/shots-4-seed-2.jsonl": cut,
}


class Spoiled:
    """A study that ended, all of whose kinds of files were damaged, and that was resumed."""

    def __init__(self, place: Path, drivers: Drivers) -> None:
        self.place, self._drivers = place, drivers
        self.backbone = place / "backbone"
        shutil.copytree(backbone_path(EMBEDDED), self.backbone)
        self.folder = StudyFolder(place / "runs" / "mine")
        self.run(*SMALL, f"backbone.name={self.backbone}")
        self.before = self.told()
        self.shots = self._shots()
        self.images = {path: path.read_bytes() for path in place.glob("runs/images/*.arrow")}
        for name, spoil in SPOILED.items():
            spoil(self.folder.path / name)
        for path in self.images:
            flip(path)
        self.tasks = sorted(self.folder.path.glob("shots/tasks-*"))
        for path in self.tasks:
            cut(path)
        self.output = self.run("resume", "mine")

    def run(self, *arguments: str, status: int = 0) -> str:
        """Run the command line; give what it said."""
        ended, output = self._drivers.run(list(arguments), self.place)
        assert ended == status, output
        assert "Traceback" not in output
        return output

    def told(self) -> dict[str, Any]:
        """What the study knows, less times."""
        trials = {
            trial.trial_id: (
                trial.read_config(),
                [{k: v for k, v in r.items() if k not in TIMED} for r in trial.read_reports()],
                {p.name: p.read_bytes() for p in trial.path.glob("*.safetensors")},
                trial.read("predictions.parquet"),
                (end.status, end.epochs),
            )
            for trial in self.folder.trials()
            if (end := trial.read_end())
        }
        return {"trials": trials, "choice": self.folder.read_json("candidates.json")}

    def _shots(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.path.glob("shots/*")}

    def assert_as_before(self) -> None:
        assert self.told() == self.before
        assert self._shots() == self.shots
        for path, contents in self.images.items():
            assert path.read_bytes() == contents
            ImageTable(path)


@pytest.fixture(scope="module")
def spoiled(drivers: Drivers, tmp_path_factory: pytest.TempPathFactory) -> Spoiled:
    return Spoiled(tmp_path_factory.mktemp("spoiled"), drivers)


@pytest.mark.long
@pytest.mark.timeout(900)
class TestStudyWhoseFilesWereDamaged:
    def test_it_is_whole_again_with_the_same_results(self, spoiled: Spoiled) -> None:
        spoiled.assert_as_before()
        table = pq.read_table(spoiled.folder.path / "results.parquet").to_pandas()
        assert sorted(table["trial_id"]) == sorted(spoiled.before["trials"])

    def test_it_names_what_was_damaged(self, spoiled: Spoiled) -> None:
        output = " ".join(spoiled.output.split())
        for name in SPOILED:
            if name != "results.parquet":  # a view, made anew in any case
                place, _, file = name.rpartition("/")
                assert file in output, name
                assert place.rpartition("/")[2] in output, name
        for path in spoiled.images:
            assert path.name in output

    def test_a_damaged_checkpoint_is_named_and_nothing_is_trained_with_it(
        self, spoiled: Spoiled
    ) -> None:
        weights = spoiled.backbone / "model.safetensors"
        kept = weights.read_bytes()
        flip(weights)
        output = spoiled.run("resume", "mine", status=2)
        assert "the backbone's files have changed since 'mine' began, or are damaged" in output
        cut(weights)
        output = spoiled.run("resume", "mine", status=2)
        assert f"backbone: backbone '{spoiled.backbone}' has weights that cannot be read" in output
        weights.write_bytes(kept)

    def test_a_lost_configuration_is_named_and_its_trial_can_be_made_up_for(
        self, spoiled: Spoiled
    ) -> None:
        trial = spoiled.folder.trial("confirm-clipfit-seed1")
        flip(trial.path / "config.json")
        output = "".join(spoiled.run("resume", "mine", status=2).split())
        assert f"{trial.path.name}/config.json;putthefileback" in output
        shutil.rmtree(trial.path)
        spoiled.run("resume", "mine")
        spoiled.assert_as_before()

    def test_its_search_goes_on_from_a_journal_made_again(self, spoiled: Spoiled) -> None:
        assert (spoiled.folder.path / "optuna.journal.damaged").exists()
        spoiled.run("extend", "mine", "search.trials=+2")
        journal = JournalStorage(JournalFileBackend(str(spoiled.folder.path / "optuna.journal")))
        studies = {
            arm: optuna.load_study(study_name=arm, storage=journal).trials
            for arm in ("search", "clipfit-tuned")
        }
        proposed = [t for t in spoiled.folder.trials() if t.read_config()["arm"] in studies]
        search = load_config(spoiled.folder.config_path, frozen=True).search
        assert len(proposed) == search.planned_trials - len(search.fixed_baselines)
        for trial in proposed:
            told = studies[trial.read_config()["arm"]][trial.read_config()["optuna_number"]]
            assert told.value == trial.read_reports()[-1]["val_score"]
