"""Files that were cut, flipped or overwritten: found out, named, and where possible made again."""

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import optuna
import pyarrow.parquet as pq
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from study.config.loading import build_config
from study.data.images.decode import open_cache
from study.errors import DataError
from study.search.stages import run_queue
from study.storage.ledger import End, LedgerError, StudyFolder, TrialFolder
from study.storage.repair import repair
from study.trial import TrialConfig, TrialData

from .conftest import Drivers

REPORTS = [{"epoch": epoch, "val_score": epoch / 8, "seconds": 1.0} for epoch in (1, 2)]
CHOICE = [{"label": "best", "val_score": 0.25}]


def flip(path: Path, what: bytes | None = None) -> None:
    """Change one bit in the middle of a file, or of what is in it, so that text stays text."""
    contents = bytearray(path.read_bytes())
    place = len(contents) // 2 if what is None else contents.index(what) + len(what) // 2
    contents[place] ^= 1
    path.write_bytes(contents)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwrite(path: Path) -> None:
    path.write_bytes(b"\0" * path.stat().st_size)


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    """A study with a trial that ended and one that did not."""
    study = StudyFolder(tmp_path / "runs" / "mine")
    study.create("seed: 1\n", {})
    study.write_json("candidates.json", CHOICE)
    for number in (0, 1):
        trial = study.trial(f"search-000{number}")
        trial.create({"number": number, "stage": "search"})
        for report in REPORTS:
            trial.append_report(report)
        trial.write("delta.safetensors", b"0123456789")
    study.trial("search-0000").write_end(End("finished", 2, 2.0))
    return study


@pytest.fixture
def whole(folder: StudyFolder) -> TrialFolder:
    return folder.trial("search-0000")


@pytest.fixture
def unfinished(folder: StudyFolder) -> TrialFolder:
    return folder.trial("search-0001")


def test_what_is_whole_stays_as_it_is(folder: StudyFolder) -> None:
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    repair(folder)
    assert {p: p.read_bytes() for p in folder.path.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *itertools.product(["reports.jsonl", "delta.safetensors"], [flip, cut, Path.unlink]),
        *itertools.product(["end.json"], [flip, cut, overwrite]),
    ],
)
def test_a_damaged_trial_is_named_and_trained_again(
    folder: StudyFolder,
    whole: TrialFolder,
    name: str,
    damage: Callable[[Path], object],
    caplog: pytest.LogCaptureFixture,
) -> None:
    damage(whole.path / name)
    repair(folder)
    assert f"{name} of {whole.path} damaged; the trial is trained again" in caplog.text
    assert (whole.end, whole.reports) == (None, [])
    assert whole.config == {"number": 0, "stage": "search"}
    assert not (whole.path / "delta.safetensors").exists()
    whole.append_report(REPORTS[0])
    whole.write_end(End("failed", 1, 1.0))  # without a delta this time
    assert not whole.damaged()


@pytest.mark.parametrize("damage", [flip, cut, overwrite])
@pytest.mark.parametrize("number", [0, 1])
def test_a_damaged_configuration_is_named_and_nothing_is_touched(
    folder: StudyFolder, number: int, damage: Callable[[Path], object]
) -> None:
    trial = folder.trial(f"search-000{number}")
    damage(trial.path / "config.json")
    with pytest.raises(LedgerError, match=rf"{trial.path}/config\.json; put the file back"):
        repair(folder)
    assert len(trial.reports) == 2


def test_reports_that_cannot_be_read_cost_an_unfinished_trial_its_epochs(
    folder: StudyFolder, unfinished: TrialFolder
) -> None:
    overwrite(unfinished.path / "reports.jsonl")
    with (unfinished.path / "reports.jsonl").open("ab") as file:
        file.write(b"\n")
    repair(folder)
    assert unfinished.reports == []


@pytest.mark.parametrize("damage", [flip, cut, overwrite])
def test_a_damaged_choice_is_taken_back_and_never_believed(
    folder: StudyFolder, damage: Callable[[Path], object]
) -> None:
    damage(folder.path / "candidates.json")
    with pytest.raises(LedgerError, match=r"candidates\.json is damaged"):
        folder.read_json("candidates.json")
    repair(folder)
    assert folder.read_json("candidates.json") is None


def test_a_damaged_identity_is_named(folder: StudyFolder) -> None:
    flip(folder.path / "identity.json")
    with pytest.raises(LedgerError, match=r"damaged: .*identity\.json"):
        repair(folder)


def test_a_crash_around_a_write_is_no_damage(folder: StudyFolder, whole: TrialFolder) -> None:
    """The sum is noted, and then the file is not written."""
    for path in (folder.path / "candidates.json", whole.path / "config.json"):
        with path.with_name("sha256.txt").open("a") as sums:
            sums.write(f"{'0' * 64}  {path.name}\n{'0' * 30}")
    repair(folder)
    assert folder.read_json("candidates.json") == CHOICE
    assert whole.end is not None
    folder.write_json("candidates.json", [])
    assert folder.read_json("candidates.json") == []


def test_a_trial_of_before_there_were_sums_is_believed(
    folder: StudyFolder, whole: TrialFolder
) -> None:
    (whole.path / "sha256.txt").unlink()
    repair(folder)
    assert whole.end is not None


def test_data_that_changed_since_a_trial_began_are_refused(folder: StudyFolder) -> None:
    """As by a split file that lost a line."""
    trial = folder.trial("confirm-clipfit-seed1")
    trial.create(
        TrialConfig(
            trial_id="confirm-clipfit-seed1",
            stage="confirm",
            arm="clipfit",
            label="clipfit",
            number=0,
            seed=1,
            subset="none",
            subset_key="0",
            trainable=0,
            epochs=0,
            split_hash="a" * 16,
        ).model_dump(mode="json")
    )
    data = TrialData(
        dataset="digits",
        protocol="few_shot",
        class_names=("a",),
        templates=("{}",),
        tasks=(),
        digest="b" * 64,
        train_images=Path(),
        eval_images=Path(),
        augment=False,
        split="test",
    )
    config = build_config({"name": "mine"}, "test")
    with pytest.raises(
        DataError, match=r"confirm-clipfit-seed1 was given other images .*tasks-bbb"
    ):
        run_queue(config, folder, "confirm", [], {1: data}, [])


SMALL = ["quickstart", "name=mine", "search.trials=8", "training.epochs=3", "data.shots=4"]
SMALL += ["confirm.seeds=[1,2]", "confirm.runners_up=0", "search.selection=holdout"]
SMALL += ["search.sampler=random", "search.asha=null"]
TIMED = ("seconds", "ended_at", "images_per_second")
SPOILED: dict[str, Callable[[Path], None]] = {
    "trials/search-0001/reports.jsonl": lambda path: flip(path, b'"val_score": 0.'),
    "trials/search-0005/delta.safetensors": flip,
    "trials/search-0006/end.json": cut,
    "trials/confirm-ln-seed1/delta.safetensors": flip,
    "trials/confirm-clipfit-seed2/per_class.json": flip,
    "trials/confirm-bitfit-seed1/confusion.json": overwrite,
    "candidates.json": overwrite,
    "registered.json": cut,
    "results.parquet": overwrite,
    "optuna.journal": cut,
    "shots/shots-4-seed-1.jsonl": flip,
    "shots/shots-4-seed-2.jsonl": cut,
}


class Spoiled:
    """A study that ended, all of whose kinds of files were damaged, and that was resumed."""

    def __init__(self, place: Path, backbone: Path, drivers: Drivers) -> None:
        self.place, self._drivers = place, drivers
        self.backbone = place / "backbone"
        shutil.copytree(backbone, self.backbone)
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
        self.output = self.run("--resume", "mine")

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
                trial.config,
                [{k: v for k, v in r.items() if k not in TIMED} for r in trial.reports],
                {p.name: p.read_bytes() for p in trial.path.glob("*.safetensors")},
                [(trial.path / n).exists() for n in ("per_class.json", "confusion.json")],
            )
            for trial in self.folder.trials()
        }
        return {"trials": trials, "choice": self.folder.read_json("candidates.json")}

    def _shots(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.path.glob("shots/*")}

    def assert_as_before(self) -> None:
        assert self.told() == self.before
        assert self._shots() == self.shots
        for path, contents in self.images.items():
            assert path.read_bytes() == contents
            open_cache(path)


@pytest.fixture(scope="module")
def spoiled(
    drivers: Drivers, tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory
) -> Spoiled:
    return Spoiled(tmp_path_factory.mktemp("spoiled"), tiny_backbone, drivers)


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

    def test_mlflow_has_one_run_a_trial(self, spoiled: Spoiled) -> None:
        mlflow.set_tracking_uri(f"sqlite:///{spoiled.place / 'mlflow.db'}")
        runs = mlflow.search_runs(search_all_experiments=True)
        assert sorted(runs["tags.trial_id"].dropna()) == sorted(spoiled.before["trials"])
        assert set(runs["status"]) == {"FINISHED"}
        client = mlflow.MlflowClient(f"sqlite:///{spoiled.place / 'mlflow.db'}")
        for run_id, trial_id in runs.set_index("run_id")["tags.trial_id"].dropna().items():
            end = spoiled.folder.trial(trial_id).end
            for key, value in {"epochs": end.epochs, "seconds": end.seconds}.items():
                assert [p.value for p in client.get_metric_history(run_id, key)] == [value]

    def test_a_damaged_checkpoint_is_named_and_nothing_is_trained_with_it(
        self, spoiled: Spoiled
    ) -> None:
        weights = spoiled.backbone / "model.safetensors"
        kept = weights.read_bytes()
        flip(weights)
        output = spoiled.run("--resume", "mine", status=2)
        assert "the backbone's files have changed since 'mine' began, or are damaged" in output
        cut(weights)
        output = spoiled.run("--resume", "mine", status=2)
        assert f"backbone: backbone '{spoiled.backbone}' cannot be loaded" in output
        weights.write_bytes(kept)

    def test_a_lost_configuration_is_named_and_its_trial_can_be_made_up_for(
        self, spoiled: Spoiled
    ) -> None:
        trial = spoiled.folder.trial("confirm-clipfit-seed1")
        flip(trial.path / "config.json")
        output = "".join(spoiled.run("--resume", "mine", status=2).split())
        assert f"{trial.path.name}/config.json;putthefileback" in output
        shutil.rmtree(trial.path)
        spoiled.run("--resume", "mine")
        spoiled.assert_as_before()

    def test_its_search_goes_on_from_a_journal_made_again(self, spoiled: Spoiled) -> None:
        assert (spoiled.folder.path / "optuna.journal.damaged").exists()
        spoiled.run("--extend", "mine", "search.trials=+2")
        journal = JournalStorage(JournalFileBackend(str(spoiled.folder.path / "optuna.journal")))
        studies = {
            arm: optuna.load_study(study_name=arm, storage=journal).trials
            for arm in ("search", "clipfit-tuned")
        }
        search = [t for t in spoiled.folder.trials() if t.config["stage"] == "search"]
        assert len(search) == 10
        for trial in search:
            if trial.config["arm"] != "baseline":
                told = studies[trial.config["arm"]][trial.config["optuna_number"]]
                assert told.value == trial.reports[-1]["val_score"]
