"""The studies of a sweep: what is checked before any begins, and what becomes of each."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from rich.console import Console

from study.commands import sweep as module
from study.commands.sweep import check_sweep, run_sweep
from study.config.loading import dump_config
from study.config.sweep import SweepStudy, load_sweep
from study.errors import ConfigError, DataError, FaultsError, InterruptedStudyError, StudyError
from study.storage.study_folder import DESCRIPTION, StudyFolder
from study.trial.study import Study

Sweep = Callable[[str], list[SweepStudy]]


@pytest.fixture
def sweep(tmp_path: Path, tiny_backbone: Path) -> Sweep:
    """Make the studies of the axes given, which are named `my-grid-…`."""

    def sweep(axes: str) -> list[SweepStudy]:
        path = tmp_path / "grid.yaml"
        path.write_text(f"sweep: {axes}\n")
        given = ["name=my", f"backbone.name={tiny_backbone}", f"storage={tmp_path / 'runs'}"]
        return load_sweep(path, [*given, f"tracking.uri=sqlite:///{tmp_path}/none.db"])

    return sweep


def begin(one: SweepStudy, *, finished: bool = False) -> StudyFolder:
    folder = StudyFolder(one.config.storage / str(one.config.name))
    folder.path.parent.mkdir(exist_ok=True)
    folder.create(dump_config(one.config), {})
    if finished:
        folder.write_json("sweep.json", {"experiment": one.experiment, "axes": {}})
        folder.write(DESCRIPTION, b"It has ended.")
    return folder


def test_each_fault_is_reported_once_with_the_studies_that_have_it(sweep: Sweep):
    with pytest.raises(FaultsError) as caught:
        check_sweep(sweep("{data.shots: [2, 5000], seed: [1, 2], search.sampler: [tpe, nosuch]}"))
    faults = {fault.key: fault.message for fault in caught.value.faults}
    assert faults.keys() == {"data", "search.sampler"}
    assert faults["data"].startswith("my-grid-5000-1-tpe and 3 more: ")
    assert faults["search.sampler"].startswith("my-grid-2-1-nosuch and 3 more: 'nosuch'")


def changed(planned: Sequence[SweepStudy], section: str, **values: Any) -> list[SweepStudy]:
    """Return studies with other values of a section."""
    return [replace(one, config=one.config.with_section(section, **values)) for one in planned]


@pytest.mark.parametrize("finished", [True, False])
def test_a_study_of_the_same_name_and_other_settings_is_not_averaged_with_the_rest(
    sweep: Sweep, finished: bool
):
    planned = sweep("{seed: [1, 2]}")
    begin(planned[0], finished=finished)
    for refuse in (check_sweep, run_sweep):
        with pytest.raises(FaultsError) as caught:
            refuse(changed(planned, "training", epochs=6))
        (fault,) = caught.value.faults
        assert fault.key == "name"
        assert "training.epochs: the study has 100, got 6" in fault.message


def test_a_sweep_goes_on_with_other_machines_another_tracker_and_more_trials(sweep: Sweep):
    planned = sweep("{seed: [1, 2]}")
    extended, _ = changed(planned, "search", trials=90, minutes=60)
    begin(planned[0], finished=True).write_config(dump_config(extended.config))
    begin(planned[1])
    elsewhere = changed(planned, "resources", max_concurrent=1)
    check_sweep(changed(elsewhere, "tracking", experiment="another"))


def test_a_study_that_is_being_extended_has_not_ended(sweep: Sweep):
    planned = sweep("{seed: [1, 2]}")
    extended, _ = changed(planned, "search", trials=90)
    begin(extended, finished=True).mark_incomplete(candidates=False)
    with pytest.raises(ConfigError, match=r"my-grid-1: .*\n.*search.trials: the study has 90"):
        check_sweep(planned)


class Runs:
    """Stands in for the running of studies, which takes minutes; some have faults."""

    def __init__(self):
        self.faults: dict[str, StudyError] = {}
        self.ran: list[tuple[str, bool]] = []
        """Each study's name, and whether it was resumed."""
        self.tabled: list[str] = []

    def run_study(self, study: Study, console: Console, *, resume: bool):
        folder = study.folder
        self.ran.append((folder.name, resume))
        if not resume:
            folder.create(dump_config(study.config), {})
        if fault := self.faults.get(folder.name):
            raise fault
        folder.write(DESCRIPTION, b"It has ended.")

    def write_sweep_tables(self, folders: Sequence[Path], target: Path) -> Path:
        self.tabled = [folder.name for folder in folders]
        return target / "tables.md"


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Runs:
    runs = Runs()
    monkeypatch.setattr(module, "run_study", runs.run_study)
    monkeypatch.setattr(module, "read_sweep", lambda folders: folders)
    monkeypatch.setattr(module, "write_sweep_tables", runs.write_sweep_tables)
    monkeypatch.setattr(module, "sweep_summary", lambda folders: f"{len(folders)} studies")
    monkeypatch.setattr(module, "ray_session", lambda *_: nullcontext(Mock()))
    (tmp_path / "runs").mkdir()
    return runs


def test_what_is_left_of_a_sweep_runs_and_notes_its_place_in_it(
    sweep: Sweep, runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    planned = sweep("{seed: [1, 2, 3]}")
    begin(planned[0], finished=True)
    begin(planned[1])
    run_sweep(planned)
    assert runs.ran == [("my-grid-2", True), ("my-grid-3", False)]
    assert runs.tabled == ["my-grid-1", "my-grid-2", "my-grid-3"]
    assert "tables.md" in capsys.readouterr().out
    place = StudyFolder(tmp_path / "runs" / "my-grid-3").read_json("sweep.json")
    assert place == {"experiment": "grid", "axes": {"seed": 3}}


@pytest.mark.parametrize(
    "fault, ran, message",
    [
        (DataError("it is corrupt"), 2, "1 of 2 studies failed:\nmy-grid-1: it is corrupt"),
        (InterruptedStudyError("it was interrupted"), 1, "it was interrupted"),
    ],
)
def test_a_study_that_fails_leaves_the_others_to_run_and_ctrl_c_ends_all(
    sweep: Sweep, runs: Runs, fault: StudyError, ran: int, message: str
):
    runs.faults["my-grid-1"] = fault
    with pytest.raises(StudyError, match=message):
        run_sweep(sweep("{seed: [1, 2]}"))
    assert runs.ran == [("my-grid-1", False), ("my-grid-2", False)][:ran]
    assert runs.tabled == ["my-grid-2"][: ran - 1]
