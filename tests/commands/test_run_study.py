"""A study from its configuration to its report: what it refuses, says, and leaves."""

import io
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest
from rich.console import Console

import study.data.datasets
from study.backbones.description import read_architecture
from study.commands import run_study as module
from study.commands.announcement import plan_facts
from study.commands.frozen_configuration import changes_of_results
from study.commands.run_study import run_study
from study.config.loading import dump_config, load_config
from study.config.schema import StudyConfig
from study.data.records import Dataset
from study.errors import (
    BackboneError,
    InterruptedStudyError,
    StudyError,
    TrackingError,
)
from study.storage.atomic import StorageError
from study.storage.ledger_files import DamagedError
from study.storage.study_folder import DESCRIPTION, StudyFolder
from study.storage.trial_folder import End, TrialFolder
from study.tracking.tracker import Tracker, TrackerLines
from study.trial.study import Candidate, Study, TrialConfig
from tests.damage import flip
from tests.image_folders import image_folder
from tests.in_process import trials_in_process
from tests.reacting import reacting
from tests.settings import NONE, settings

Configure = Callable[..., StudyConfig]

GO_ON = r"\n  clipfit-study resume /.*/mine"
"""How an interrupted study says what goes on with it."""


def study_of(config: StudyConfig) -> Study:
    return Study(config, StudyFolder(config.storage / "mine"))


@pytest.fixture
def begun(configure: Configure) -> Study:
    """A study that has been begun, and nothing more."""
    study = study_of(configure())
    study.folder.create(dump_config(study.config), {"checkpoint": "f" * 16})
    return study


def stop_before_ray(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let studies end where they would start Ray; give what then is to be expected."""
    monkeypatch.setattr(module, "ray_session", lambda *_: pytest.fail("far enough"))
    return pytest.raises(pytest.fail.Exception, match="far enough")


def test_a_study_whose_checkpoint_is_another_than_it_began_with_does_not_go_on(
    begun: Study, console: Console, tiny_backbone: Path
):
    now = read_architecture(tiny_backbone).checkpoint
    with pytest.raises(BackboneError, match=f"was {'f' * 16} and is {now}; put the former back"):
        run_study(begun, console, resume=True)
    assert not list(begun.folder.trials())
    assert not (begun.folder.path / "shots").exists()


def test_the_tracker_says_where_a_copy_of_a_lost_configuration_of_a_trial_may_be(
    begun: Study, console: Console
):
    trial = begun.folder.trial("search-0000")
    trial.create({"trial_id": trial.trial_id})
    trial.write_end(End("finished", 1, 1.0))
    (trial.path / "config.json").unlink()
    with pytest.raises(DamagedError) as fault:
        run_study(begun, console, resume=True)
    lost, advice = str(fault.value).splitlines()
    assert lost.startswith(f"lost: {trial.path / 'config.json'}; put the file back from a copy, or")
    assert advice.startswith("MLflow may have copies: ")
    assert advice.endswith("config.json is one of the run of a trial that has ended")


def test_a_study_begins_by_writing_down_what_it_is_and_saying_what_it_will_do(
    configure: Configure,
    console: Console,
    output: io.StringIO,
    tiny_backbone: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    study = study_of(configure())
    with stop_before_ray(monkeypatch):
        run_study(study, console, resume=False)
    assert study.folder.config_path.read_text() == dump_config(study.config)
    identity = study.folder.read_identity()
    assert identity["checkpoint"] == read_architecture(tiny_backbone).checkpoint
    assert {"created", "clipfit-study_version", "torch_version", "ray_version"} <= identity.keys()
    printed = " ".join(output.getvalue().split())
    for fact in plan_facts(study):
        assert f"{fact.name} {fact.text}".strip() in printed


def test_a_relative_folder_of_images_is_stored_absolute(
    configure: Configure, console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    image_folder(tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    config = configure(data={"dataset": "mine", "root": "images", "shots": 2, "val_shots": 1})
    study = study_of(config)
    with stop_before_ray(monkeypatch):
        run_study(study, console, resume=False)
    frozen = load_config(study.folder.config_path, frozen=True)
    assert frozen.data.root == tmp_path / "images"
    assert changes_of_results(frozen, config) == []
    monkeypatch.chdir("/")
    with stop_before_ray(monkeypatch):
        run_study(study_of(frozen), console, resume=True)


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A tracker of every study, which does nothing."""
    tracker = create_autospec(Tracker, instance=True)
    tracker.title = "the tracker"
    tracker.close.return_value = TrackerLines()
    monkeypatch.setattr(module.tracking, "make_tracker", lambda *_: tracker)
    return tracker


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch, output: io.StringIO, tracker: Any) -> list[str]:
    """Let a study have nothing to do but to end; return what it says when each thing begins."""
    said = []

    def say(*_: object, **__: object) -> TrackerLines:
        said.append(output.getvalue().splitlines()[-1])
        return TrackerLines()

    @contextmanager
    def cluster(*_: object) -> Iterator[None]:
        yield
        say()

    tracker.register.side_effect = tracker.close.side_effect = say
    monkeypatch.setattr(module, "ray_session", cluster)
    monkeypatch.setattr(module, "run_test_stage", lambda *_: None)
    outputs = create_autospec(module.write_outputs, side_effect=lambda *_: (say(), None))
    monkeypatch.setattr(module, "write_outputs", outputs)
    monkeypatch.setattr(module, "print_outcome", lambda *_: say())
    return said


def test_what_is_done_after_the_last_trial_is_told_as_it_begins(
    configure: Configure, console: Console, ending: list[str]
):
    run_study(study_of(configure(search={"trials": 0})), console, resume=False)
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
):
    study = study_of(configure(search={"trials": 0}))
    tracker.start.side_effect = TrackingError("the answer was lost")
    with pytest.raises(TrackingError, match=f"lost; .*{GO_ON}"):
        run_study(study, console, resume=False)
    before = study.folder.read_identity()["study_id"]
    tracker.start.side_effect = None
    run_study(study, console, resume=True)
    assert study.folder.read_identity()["study_id"] == before, "by which its tracker finds it"
    assert len(ending) == 5


def test_what_was_not_sent_is_told_also_where_a_study_fails(
    configure: Configure,
    console: Console,
    tracker: Any,
    monkeypatch: pytest.MonkeyPatch,
    output: io.StringIO,
):
    tracker.close.return_value = TrackerLines("1 run:\n  trial: away")
    monkeypatch.setattr(module, "ray_session", lambda *_: nullcontext())
    fail = create_autospec(module.run_test_stage, side_effect=StudyError)
    monkeypatch.setattr(module, "run_test_stage", fail)
    with pytest.raises(StudyError):
        run_study(study_of(configure(search={"trials": 0})), console, resume=False)
    assert "the tracker lacks 1 run:\n  trial: away" in output.getvalue()


@pytest.mark.usefixtures("ending")
@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_study_that_is_interrupted_after_its_trials_is_closed_and_says_how_to_go_on(
    configure: Configure, console: Console, tracker: Any, name: signal.Signals
):
    tracker.register.side_effect = lambda: signal.raise_signal(name)
    study = study_of(configure(search={"trials": 0}))
    with reacting():
        before = signal.getsignal(name)
        with pytest.raises(InterruptedStudyError, match=rf"interrupted; to continue, run{GO_ON}"):
            run_study(study, console, resume=False)
        assert signal.getsignal(name) is before
    tracker.close.assert_called_once_with(finished=False)


@pytest.mark.usefixtures("ending")
@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM])
def test_a_finished_study_that_is_asked_to_end_names_the_command_that_sends_its_rest(
    configure: Configure,
    console: Console,
    tracker: Any,
    name: signal.Signals,
    caplog: pytest.LogCaptureFixture,
):
    def closed(*, finished: bool) -> TrackerLines:
        signal.raise_signal(name)
        return TrackerLines()

    study = study_of(configure(search={"trials": 0}))
    outputs = module.write_outputs
    outputs.side_effect = lambda folder, *_: (folder.path / DESCRIPTION).touch()  # type: ignore[attr-defined]
    tracker.close.side_effect = closed
    with reacting(), pytest.raises(InterruptedStudyError) as interrupted:
        run_study(study, console, resume=False)
    told = [str(interrupted.value), *caplog.messages]
    assert all(
        "is finished" in text and re.search("clipfit-study sync /.*/mine", text) for text in told
    ), told
    assert len(told) == (1 if name == signal.SIGINT else 2)
    assert "resume" not in told[0]


@pytest.mark.usefixtures("ending")
def test_a_fault_is_told_though_the_study_was_asked_to_end_as_it_closed(
    configure: Configure, console: Console, tracker: Any
):
    def closed(*, finished: bool) -> TrackerLines:
        signal.raise_signal(signal.SIGTERM)
        return TrackerLines()

    tracker.register.side_effect = StorageError("No space left")
    tracker.close.side_effect = closed
    study = study_of(configure(search={"trials": 0}))
    told = rf"interrupted as it ended because of a fault \(No space left\); to continue, run{GO_ON}"
    with reacting(), pytest.raises(InterruptedStudyError, match=told):
        run_study(study, console, resume=False)


@pytest.mark.usefixtures("ending")
@pytest.mark.parametrize("name", ["delta.safetensors", "reports.jsonl", "end.json", "config.json"])
def test_a_damaged_final_training_of_an_earlier_choice_blocks_nothing(
    configure: Configure, console: Console, monkeypatch: pytest.MonkeyPatch, name: str
):
    study = study_of(configure(search={"trials": 0}))
    run_study(study, console, resume=False)
    own = settings("vision.ln")
    best = Candidate(
        label="best", settings=own, source_trial="search-0002", training="abc", choice=8
    )
    study.write_candidates([best])
    earlier, present = (
        trained(study.folder.trial(f"final-labelled-{number}"), split_hash)
        for number, split_hash in (("0001", "e" * 16), ("0002", "f" * 16))
    )
    before = [path.read_bytes() for path in sorted(present.path.iterdir())]
    flip(earlier.path / name)
    trainings: list[int] = []
    record = lambda *_, count, **__: trainings.append(count)  # noqa: E731
    monkeypatch.setattr("study.search.steps.run_trials", record)
    run_study(study, console, resume=True)
    assert not any(trainings)
    assert [path.read_bytes() for path in sorted(present.path.iterdir())] == before
    assert all(trial.read_end() for trial in study.folder.trials())


def trained(trial: TrialFolder, split_hash: str) -> TrialFolder:
    """Write a final training that has ended."""
    config = TrialConfig(
        settings=settings("vision.ln"),
        trial_id=trial.trial_id,
        stage="final",
        group="best",
        label="best",
        number=0,
        seed=1,
        trainable=1,
        epochs=1,
        split_hash=split_hash,
    )
    trial.create(config.model_dump(mode="json"))
    trial.write("delta.safetensors", b"0123456789")
    trial.append_report({"epoch": 1, "seconds": 1.0}, last=True)
    trial.write_end(End("finished", 1, 1.0))
    return trial


@pytest.mark.usefixtures("ray_cluster")
def test_a_whole_study_opens_its_dataset_once(
    configure: Configure,
    console: Console,
    output: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
):
    real, opened = study.data.datasets.load_dataset, Counter[str]()

    def load_dataset(name: str, *args: Any, **options: Any) -> Dataset:
        opened[name] += 1
        return real(name, *args, **options)

    monkeypatch.setattr(study.data.datasets, "load_dataset", load_dataset)
    config = configure(
        search={"trials": 0, "baselines": {**NONE, "ln": {"subset": "ln", "rates": {"ln": 0.1}}}},
        training={"epochs": 1, "batch_size": 8},
        test={"seeds": [1, 2]},
    )
    with trials_in_process():
        run_study(study_of(config), console, resume=False)
    assert opened == {"digits": 1}
    lines = output.getvalue().splitlines()
    (made,) = (n for n, line in enumerate(lines) if line.startswith("finish   making tables"))
    assert "test     2/2 done" in "\n".join(lines[:made])
