"""A study from its configuration to its report: what it begins with, refuses, and leaves."""

import csv
import io
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pyarrow.parquet as pq
import pytest
from reacting import reacting
from rich.console import Console
from written_study import Written

import study.data.datasets
from study.backbones.description import read_architecture
from study.config.loading import Member, build_config, dump_config, load_sweep
from study.config.schema import StudyConfig
from study.data.records import Dataset
from study.errors import (
    BackboneError,
    ConfigError,
    DataError,
    InterruptedStudyError,
    StudyError,
    TrackingError,
)
from study.storage.atomic import StorageError
from study.storage.ledger import End, LedgerError, StudyFolder
from study.tracking.tracker import Tracker
from study.trial.study import Study
from study.workflow import run_study as module
from study.workflow.announcing import plan
from study.workflow.run_study import check_sweep, run_study, run_sweep, write_outputs

Configure = Callable[..., StudyConfig]

GO_ON = r"\n  clipfit-study resume mine"
"""How an interrupted study says what goes on with it."""


@pytest.fixture
def configure(tiny_backbone: Path, tmp_path: Path, mlflow_store: str) -> Configure:
    """Make the configuration of a small study on the digits."""

    def configure(**values: Any) -> StudyConfig:
        sections = {
            "name": "mine",
            "storage": str(tmp_path / "runs"),
            "backbone": {"name": str(tiny_backbone)},
            "tracking": {"uri": mlflow_store, "experiment": "begun"},
            "data": {"shots": 2, "augment": False},
            **values,
        }
        return build_config(sections, "here")

    return configure


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def console(output: io.StringIO) -> Console:
    return Console(file=output, width=500)


def folder_of(config: StudyConfig) -> StudyFolder:
    return StudyFolder(config.storage / str(config.name))


def test_a_study_whose_checkpoint_is_another_than_it_began_with_does_not_go_on(
    configure: Configure, console: Console, tiny_backbone: Path
) -> None:
    config = configure()
    folder = folder_of(config)
    folder.create(dump_config(config), {"checkpoint": "f" * 16})
    now = read_architecture(tiny_backbone).checkpoint
    with pytest.raises(BackboneError, match=f"was {'f' * 16} and is {now}; put the former back"):
        run_study(config, folder, console, resume=True)
    assert not list(folder.trials())
    assert not (folder.path / "shots").exists()


@pytest.mark.parametrize(
    ("kept", "warning"),
    [
        ({"preprocessing": 1}, "images are decoded otherwise since 'mine' began"),
        ({"framing": "none"}, "says of it: the shorter side, bicubic, and none"),
        ({"framing": "the shorter side, bicubic"}, ""),
    ],
)
def test_a_study_whose_images_were_read_otherwise_goes_on_with_a_warning(
    configure: Configure,
    console: Console,
    caplog: pytest.LogCaptureFixture,
    kept: dict[str, Any],
    warning: str,
) -> None:
    config = configure()
    folder = folder_of(config)
    folder.create(dump_config(config), {"checkpoint": "f" * 16, **kept})
    with pytest.raises(BackboneError):
        run_study(config, folder, console, resume=True)
    assert warning in caplog.text
    assert ("otherwise" in caplog.text) == bool(warning)


def test_a_name_that_exists_is_refused_and_its_study_left_alone(
    configure: Configure, console: Console
) -> None:
    config = configure()
    folder = folder_of(config)
    folder.create("seed: 1\n", {})
    with pytest.raises(ConfigError, match="study 'mine' exists"):
        run_study(config, folder, console, resume=False)
    assert folder.config_path.read_text() == "seed: 1\n"


def test_a_study_that_fails_before_its_first_trial_leaves_no_folder(
    configure: Configure, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StudyError("no cluster answers")

    monkeypatch.setattr("study.workflow.run_study.ray_session", fail)
    config = configure()
    with pytest.raises(StudyError, match="no cluster answers"):
        run_study(config, folder_of(config), console, resume=False)
    assert not folder_of(config).path.exists()
    assert not list(config.storage.glob(".deleted-*"))


def test_a_second_driver_of_a_study_is_refused(configure: Configure, console: Console) -> None:
    config = configure()
    folder = folder_of(config)
    folder.create(dump_config(config), {})
    with folder.locked(), pytest.raises(LedgerError, match="run by another process"):
        run_study(config, StudyFolder(folder.path), console, resume=True)


def test_a_study_begins_by_writing_down_what_it_is_and_saying_what_it_will_do(
    configure: Configure,
    console: Console,
    output: io.StringIO,
    tiny_backbone: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = configure()
    folder = folder_of(config)
    monkeypatch.setattr(
        "study.workflow.run_study.ray_session", lambda *_: pytest.fail("far enough")
    )
    with pytest.raises(pytest.fail.Exception, match="far enough"):
        run_study(config, folder, console, resume=False)
    assert folder.config_path.read_text(encoding="utf-8") == dump_config(config)
    identity = folder.read_identity()
    assert identity["checkpoint"] == read_architecture(tiny_backbone).checkpoint
    assert {"created", "git_commit", "torch_version", "ray_version"} <= identity.keys()
    assert plan(Study(config, folder)) in output.getvalue()


def test_an_ablation_keeps_the_base_that_it_took_from_a_study_which_is_deleted_since(
    configure: Configure, console: Console, output: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(ablation={"design": "leave_one_out", "base_from": "other"})
    folder, other = folder_of(config), StudyFolder(config.storage / "other")
    other.path.mkdir(parents=True)
    own = {"subset": "vision.ln1 + vision.ln2"}
    other.write_json("candidates.json", [{"label": "best", "settings": own}])
    monkeypatch.setattr(
        "study.workflow.run_study.ray_session", lambda *_: pytest.fail("far enough")
    )
    for resume in (False, True):
        with pytest.raises(pytest.fail.Exception, match="far enough"):
            run_study(config, folder, console, resume=resume)
        shutil.rmtree(other.path, ignore_errors=True)
    assert output.getvalue().count(": 3 cells") == 2


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path, "mine")


def test_the_views_of_a_study_are_written_anew_from_its_ledger(written: Written) -> None:
    written.whole(0)
    written.whole(1, "failed", 1, error="boom")
    write_outputs(written.folder)
    path = written.folder.path
    for name in ("leaderboard.md", "leaderboard.csv", "report.html", "description.md"):
        assert (path / name).stat().st_size
    assert list((path / "plots").glob("*.png"))
    assert pq.read_table(path / "results.parquet")["status"].to_pylist() == ["finished", "failed"]
    (path / "report.html").write_text("")
    written.whole(2)
    write_outputs(written.folder)
    assert len(pq.read_table(path / "results.parquet")) == 3
    assert "<html" in (path / "report.html").read_text(encoding="utf-8")


def test_an_ablation_leaves_a_table_of_its_cells_in_place_of_a_leaderboard(
    written: Written,
) -> None:
    for number, (label, seed) in enumerate((c, s) for c in ("base", "norms") for s in (1, 2)):
        config = written.trial(
            number, trial_id=f"ablation-{number:04d}", stage="ablation", label=label, arm=label,
            seed=seed, subset_key=label,
        )  # fmt: skip
        trial = written.folder.trial(config.trial_id)
        trial.append_report({"epoch": 3, "test_score": 0.5 + 0.1 * number, "seconds": 1.0})
        trial.write_end(End("finished", 3, 1.0))
    written.folder.write_json("cells.json", {"base": {}, "norms": {}})
    write_outputs(written.folder)
    assert not list(written.folder.path.glob("leaderboard*"))
    assert "norms" in (written.folder.path / "ablation.md").read_text(encoding="utf-8")


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A tracker of every study, which does nothing."""
    tracker = create_autospec(Tracker, instance=True)
    tracker.title = "the tracker"
    tracker.close.return_value = {}
    monkeypatch.setattr(module.tracking, "named", lambda *_: tracker)
    return tracker


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch, output: io.StringIO, tracker: Any) -> list[str]:
    """Let a study have nothing to do but to end; return what it says when each thing begins."""
    said: list[str] = []

    def say(*_: object, **__: object) -> dict[str, str]:
        said.append(output.getvalue().splitlines()[-1])
        return {}

    @contextmanager
    def cluster(*_: object) -> Iterator[None]:
        yield
        say()

    tracker.register.side_effect = tracker.close.side_effect = say
    monkeypatch.setattr(module, "ray_session", cluster)
    monkeypatch.setattr(module, "_confirm", lambda *_: None)
    outputs = create_autospec(module.write_outputs, side_effect=lambda *_: (say(), None))
    monkeypatch.setattr(module, "write_outputs", outputs)
    monkeypatch.setattr(module, "_conclude", lambda *_: say())
    return said


def test_what_is_done_after_the_last_trial_is_told_as_it_begins(
    configure: Configure, console: Console, ending: list[str]
) -> None:
    config = configure(search={"trials": 0})
    run_study(config, folder_of(config), console, resume=False)
    assert ending == [
        "finish   ending the processes of the trials",
        "finish   sending results to the tracker, and registering the winner there",
        "finish   making tables, charts and the report",
        "finish   sending the rest to the tracker",
        "finish   sending the rest to the tracker",
    ]
    _, _, datasets = module.write_outputs.call_args.args  # type: ignore[attr-defined]
    assert {*datasets} == {"digits"}, "what was read is not read again for its pictures"


def test_a_tracker_that_goes_away_as_a_study_begins_leaves_one_that_goes_on(
    configure: Configure, console: Console, ending: list[str], tracker: Any
) -> None:
    config = configure(search={"trials": 0})
    folder = folder_of(config)
    tracker.start.side_effect = TrackingError("the answer was lost")
    with pytest.raises(
        TrackingError,
        match=f"lost; .*\\n  clipfit-study resume {folder.name}",
    ):
        run_study(config, folder, console, resume=False)
    before = folder.read_identity()["study_id"]
    tracker.start.side_effect = None
    run_study(config, folder, console, resume=True)
    assert folder.read_identity()["study_id"] == before, "by which its tracker finds it"
    assert len(ending) == 5


def test_outputs_wait_for_storage_that_is_gone_and_take_it_for_no_other_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study.storage.atomic.WAIT_SECONDS", 0.2)
    with pytest.raises(StorageError, match=r"mine/trials cannot be used, nor could it within"):
        module.write_outputs(StudyFolder(tmp_path / "runs" / "mine"))


def test_what_was_not_sent_is_told_also_where_a_study_fails(
    configure: Configure,
    console: Console,
    tracker: Any,
    monkeypatch: pytest.MonkeyPatch,
    output: io.StringIO,
) -> None:
    tracker.close.return_value = {"trial": "away"}
    monkeypatch.setattr(module, "ray_session", lambda *_: nullcontext())
    monkeypatch.setattr(
        module, "_confirm", create_autospec(module._confirm, side_effect=StudyError)
    )
    config = configure(search={"trials": 0})
    with pytest.raises(StudyError):
        run_study(config, folder_of(config), console, resume=False)
    assert "the tracker lacks 1 run:\n  trial: away" in output.getvalue()


@pytest.mark.usefixtures("ending")
@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_study_that_is_interrupted_after_its_trials_is_closed_and_says_how_to_go_on(
    configure: Configure, console: Console, tracker: Any, name: signal.Signals
) -> None:
    tracker.register.side_effect = lambda: signal.raise_signal(name)
    config = configure(search={"trials": 0})
    with reacting():
        before = signal.getsignal(name)
        with pytest.raises(InterruptedStudyError, match=rf"interrupted; to continue, run{GO_ON}"):
            run_study(config, folder_of(config), console, resume=False)
        assert signal.getsignal(name) is before
    tracker.close.assert_called_once_with(finished=False)


@pytest.mark.usefixtures("ending")
def test_a_fault_is_told_though_the_study_was_asked_to_end_as_it_closed(
    configure: Configure, console: Console, tracker: Any
) -> None:
    def closed(*, finished: bool) -> dict[str, str]:
        signal.raise_signal(signal.SIGTERM)
        return {}

    tracker.register.side_effect = StorageError("No space left")
    tracker.close.side_effect = closed
    config = configure(search={"trials": 0})
    told = rf"interrupted as it ended because of a fault \(No space left\); to continue, run{GO_ON}"
    with reacting(), pytest.raises(InterruptedStudyError, match=told):
        run_study(config, folder_of(config), console, resume=False)


@pytest.mark.usefixtures("ray_cluster")
def test_a_whole_study_opens_its_dataset_once(
    configure: Configure,
    console: Console,
    output: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, opened = study.data.datasets.load_dataset, Counter[str]()

    def load_dataset(name: str, *args: Any, **options: Any) -> Dataset:
        opened[name] += 1
        return real(name, *args, **options)

    monkeypatch.setattr(study.data.datasets, "load_dataset", load_dataset)
    config = configure(
        search={"trials": 0, "baselines": {"ln": {"subset": "ln", "rates": {"ln": 0.1}}}},
        training={"epochs": 1, "batch_size": 8},
        confirm={"seeds": [1, 2, 3]},
    )
    run_study(config, folder_of(config), console, resume=False)
    assert opened == {"digits": 1}
    lines = output.getvalue().splitlines()
    (made,) = (n for n, line in enumerate(lines) if line.startswith("finish   making tables"))
    assert lines[made - 3].startswith("confirm  3/3 done")


@pytest.mark.long
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.timeout(300)
def test_an_ablation_of_pairs_tells_its_extensions_and_what_two_sites_give_together(
    configure: Configure, console: Console, output: io.StringIO
) -> None:
    sites = ["vision.ln2", "text.bias"]
    config = configure(
        search={"selection": "holdout"},
        training={"epochs": 1, "batch_size": 8},
        confirm={"seeds": [1, 2]},
        ablation={"design": "pairs", "sites": sites, "rates": {"bias": [0.1], "ln": [1e-9, 2e-9]}},
    )
    folder = folder_of(config)
    run_study(config, folder, console, resume=False)
    said = output.getvalue()
    # So small rates change nothing: the first of two equal ones wins, and it is the lowest.
    assert "the grid of “only vision.ln2” is extended to ln 5e-10\n" in said
    assert "extended: of “base” to ln 5e-10" in said
    assert "ablation 10/10 done" in said
    (row,) = csv.DictReader((folder.path / "interactions.csv").read_text().splitlines())
    assert row["better_site"] in sites
    assert row["not_tested"] == ""
    assert "Pairs of sites" in (folder.path / "report.html").read_text(encoding="utf-8")
    before = {path: path.stat().st_mtime_ns for path in folder.path.glob("trials/*/*")}
    run_study(config, folder, console, resume=True)
    assert {path: path.stat().st_mtime_ns for path in folder.path.glob("trials/*/*")} == before


Sweep = Callable[[str], list[Member]]


@pytest.fixture
def sweep(tmp_path: Path, tiny_backbone: Path) -> Sweep:
    """Make the studies of the axes given, which are named `my-grid-…`."""

    def sweep(axes: str) -> list[Member]:
        path = tmp_path / "grid.yaml"
        path.write_text(f"sweep: {axes}\n")
        given = ["name=my", f"backbone.name={tiny_backbone}", f"storage={tmp_path / 'runs'}"]
        return load_sweep(path, [*given, f"tracking.uri=sqlite:///{tmp_path}/none.db"])

    return sweep


def begin(member: Member, *, finished: bool = False) -> StudyFolder:
    folder = folder_of(member.config)
    folder.path.parent.mkdir(exist_ok=True)
    folder.create(dump_config(member.config), {})
    if finished:
        folder.write_json("sweep.json", {"experiment": member.experiment, "axes": {}})
        (folder.path / "description.md").write_text("It has ended.")
    return folder


def test_sound_studies_pass_and_nothing_is_written(sweep: Sweep, tmp_path: Path) -> None:
    check_sweep(sweep("{seed: [1, 2]}"))
    assert [path.name for path in tmp_path.iterdir()] == ["grid.yaml"]


def test_each_fault_is_told_once_with_the_studies_that_have_it(sweep: Sweep) -> None:
    with pytest.raises(ConfigError) as caught:
        check_sweep(sweep("{data.shots: [2, 5000], seed: [1, 2], search.warm_start: [null, mine]}"))
    head, *lines = str(caught.value).splitlines()
    assert head == "the studies cannot start:"
    shots, warm = sorted(lines, key=lambda line: "warm_start" in line)
    assert "my-grid-5000-1-None and 3 more: data: " in shots
    assert "5000" in shots.partition(": data: ")[2]
    assert "my-grid-2-1-mine and 3 more: search.warm_start: no study 'mine'" in warm


def changed(members: Sequence[Member], **sections: Any) -> list[Member]:
    """Return studies some sections of whose configurations are others."""
    return [replace(m, config=m.config.model_copy(update=sections)) for m in members]


def test_a_study_that_has_ended_with_other_settings_is_not_averaged_with_the_rest(
    sweep: Sweep,
) -> None:
    members = sweep("{seed: [1, 2]}")
    begin(members[0], finished=True)
    training = members[0].config.training.model_copy(update={"epochs": 6})
    with pytest.raises(ConfigError, match=r"training\.epochs: is frozen as 100, got 6"):
        check_sweep(changed(members, training=training))


def test_a_sweep_goes_on_with_other_machines_and_another_tracker(sweep: Sweep) -> None:
    members = sweep("{seed: [1, 2]}")
    for member in members:
        begin(member)
    config = members[0].config
    resources = config.resources.model_copy(update={"max_concurrent": 1})
    tracking = config.tracking.model_copy(update={"experiment": "another"})
    check_sweep(changed(members, resources=resources, tracking=tracking))


def test_a_finished_study_that_was_extended_is_accepted(sweep: Sweep) -> None:
    members = sweep("{seed: [1, 2]}")
    search = members[0].config.search
    extended, _ = changed(members, search=search.model_copy(update={"trials": 90}))
    begin(members[0], finished=True).write_config(dump_config(extended.config))
    check_sweep(members)


def test_a_study_that_is_being_extended_has_not_ended(sweep: Sweep) -> None:
    members = sweep("{seed: [1, 2]}")
    begin(members[0], finished=True).take_back_conclusions()
    told = r"then extended or repaired.*\n +clipfit-study resume my-grid-1( .*)?$"
    with pytest.raises(ConfigError, match=told):
        check_sweep(members)


def test_a_study_that_has_ended_is_not_looked_at_again(sweep: Sweep) -> None:
    sound, faulty = sweep("{data.shots: [2, 5000]}")
    begin(faulty, finished=True)
    check_sweep([sound, faulty])


def test_a_study_of_the_same_name_and_another_configuration_is_told(sweep: Sweep) -> None:
    (member,) = sweep("{seed: [1]}")
    folder = folder_of(member.config)
    folder.path.parent.mkdir()
    folder.create(dump_config(build_config({"name": "other"}, "test")), {})
    with pytest.raises(
        ConfigError, match=r"my-grid-1: name: .* is a study with another configuration"
    ):
        check_sweep([member])
    with pytest.raises(ConfigError, match="cannot start"):
        run_sweep([member], Console(file=io.StringIO()))


class Runs:
    """Stands in for the running of studies, which takes minutes; some have faults."""

    def __init__(self, faults: dict[str, StudyError]) -> None:
        self.faults = faults
        self.ran: list[tuple[str, bool]] = []
        """Each study's name, and whether it was resumed."""
        self.tabled: list[str] = []

    def run_study(
        self, config: StudyConfig, folder: StudyFolder, console: Console, *, resume: bool
    ) -> None:
        self.ran.append((folder.name, resume))
        if not resume:
            folder.create(dump_config(config), {})
        if fault := self.faults.get(folder.name):
            raise fault

    def write_tables(self, folders: Sequence[Path], target: Path) -> Path:
        self.tabled = [folder.name for folder in folders]
        return target / "tables.md"


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Runs]:
    def running(**faults: StudyError) -> Runs:
        runs = Runs({name.replace("_", "-"): fault for name, fault in faults.items()})
        monkeypatch.setattr(module, "run_study", runs.run_study)
        monkeypatch.setattr(module, "read_sweep", lambda folders: folders)
        monkeypatch.setattr(module, "write_tables", runs.write_tables)
        monkeypatch.setattr(module, "tables", lambda folders: [f"{len(folders)} studies"])
        monkeypatch.setattr(module, "ray_session", lambda *_: nullcontext())
        (tmp_path / "runs").mkdir(exist_ok=True)
        return runs

    return running


def run(members: Sequence[Member]) -> str:
    output = io.StringIO()
    run_sweep(members, Console(file=output))
    return output.getvalue()


def test_every_study_runs_and_notes_its_place_in_the_sweep(
    sweep: Sweep, running: Callable[..., Runs]
) -> None:
    members, runs = sweep("{seed: [1, 2]}"), running()
    said = run(members)
    assert runs.ran == [("my-grid-1", False), ("my-grid-2", False)]
    assert runs.tabled == ["my-grid-1", "my-grid-2"]
    assert "2 studies" in said
    assert "tables.md" in said
    place: Any = folder_of(members[1].config).read_json("sweep.json")
    assert place == {"experiment": "grid", "axes": {"seed": 2}}


def test_a_study_that_fails_leaves_the_others_to_run_and_is_told_at_the_end(
    sweep: Sweep, running: Callable[..., Runs]
) -> None:
    members, runs = sweep("{seed: [1, 2, 3]}"), running(my_grid_2=DataError("an image is corrupt"))
    with pytest.raises(StudyError, match="1 of 3 studies failed:\nmy-grid-2: an image is corrupt"):
        run(members)
    assert [name for name, _ in runs.ran] == ["my-grid-1", "my-grid-2", "my-grid-3"]
    assert runs.tabled == ["my-grid-1", "my-grid-3"]


def test_what_is_left_of_a_sweep_goes_on_where_it_was(
    sweep: Sweep, running: Callable[..., Runs]
) -> None:
    members, runs = sweep("{seed: [1, 2, 3]}"), running()
    begin(members[0], finished=True)
    begin(members[1])
    run(members)
    assert runs.ran == [("my-grid-2", True), ("my-grid-3", False)]
    assert runs.tabled == ["my-grid-1", "my-grid-2", "my-grid-3"]


def test_ctrl_c_ends_a_sweep_and_not_one_study_alone(
    sweep: Sweep, running: Callable[..., Runs]
) -> None:
    members = sweep("{seed: [1, 2]}")
    runs = running(my_grid_1=InterruptedStudyError("the study was interrupted"))
    with pytest.raises(InterruptedStudyError):
        run(members)
    assert runs.ran == [("my-grid-1", False)]
    assert runs.tabled == []


def test_where_every_study_fails_there_are_no_tables(
    sweep: Sweep, running: Callable[..., Runs]
) -> None:
    members, runs = sweep("{seed: [1]}"), running(my_grid_1=DataError("no images"))
    with pytest.raises(StudyError, match="1 of 1 studies failed"):
        run(members)
    assert runs.tabled == []
