"""A study from its configuration to its report: what it refuses, prints, and leaves."""

import io
import shutil
import signal
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import Mock, create_autospec

import pytest
from rich.console import Console

import study.data.datasets
from study.backbones.description import read_architecture
from study.commands import execution as module
from study.commands.estimate import plan_fact
from study.commands.execution import run_study
from study.commands.find import refuse_changed_results
from study.config.loading import dump_config, load_config
from study.config.schema import StudyConfig
from study.data.records import Dataset
from study.errors import (
    BackboneError,
    InterruptedStudyError,
)
from study.storage.study_folder import DESCRIPTION, StudyFolder
from study.tracking.tracker import Tracker, TrackerMessages
from study.trial.study import Study
from tests.commands.conftest import Configure, reacting
from tests.miniature import image_folder
from tests.settings import NONE

GO_ON = r"\n  clipfit-study resume \S*mine"
"""The command that continues an interrupted study, as its message has it."""


def study_of(config: StudyConfig) -> Study:
    return Study(config, StudyFolder(config.storage / "mine"))


def stop_before_ray(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let studies end where they would start Ray; return what then is to be expected."""
    monkeypatch.setattr(module, "ray_session", lambda *_: nullcontext(Mock()))
    monkeypatch.setattr(module, "exit_if_ray_is_lost", lambda *_: pytest.fail("far enough"))
    return pytest.raises(pytest.fail.Exception, match="far enough")


def test_a_study_whose_checkpoint_is_another_than_it_began_with_does_not_go_on(
    configure: Configure, console: Console, tiny_backbone: Path
):
    begun = study_of(configure())
    begun.folder.create(dump_config(begun.config), {"checkpoint": "f" * 16})
    now = read_architecture(tiny_backbone).checkpoint
    with pytest.raises(BackboneError, match=f"was {'f' * 16} and is {now}; restore the former"):
        run_study(begun, console, resume=True)
    assert not list(begun.folder.trials())
    assert not (begun.folder.path / "shots").exists()


def test_a_study_begins_with_what_it_is_and_may_be_resumed_in_another_folder(
    configure: Configure,
    console: Console,
    output: io.StringIO,
    tiny_backbone: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    images = image_folder(tmp_path / "images")
    shutil.copy(images / "train/cat/0.png", images / "train/dog/0.png")
    monkeypatch.chdir(tmp_path)
    config = configure(data={"dataset": "mine", "root": "images", "shots": 2, "val_shots": 1})
    study = study_of(config)
    with stop_before_ray(monkeypatch):
        run_study(study, console, resume=False)
    frozen = load_config(study.folder.config_path, frozen=True)
    assert frozen == config
    refuse_changed_results(frozen, config, study.folder)
    identity = study.folder.read_identity()
    assert identity["checkpoint"] == read_architecture(tiny_backbone).checkpoint
    assert {"created", "clipfit-study_version", "torch_version", "ray_version"} <= identity.keys()
    printed = " ".join(output.getvalue().split())
    assert plan_fact(study).text in printed
    assert "in two classes, so one of the labels must be wrong" in printed
    monkeypatch.chdir("/")
    with stop_before_ray(monkeypatch):
        run_study(study_of(frozen), console, resume=True)


@pytest.fixture
def unsearched(configure: Configure) -> Study:
    """A study without a search."""
    return study_of(configure(search={"trials": 0}))


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A tracker of every study, which does nothing."""
    tracker = create_autospec(Tracker, instance=True)
    tracker.title = "the tracker"
    tracker.close.return_value = TrackerMessages()
    monkeypatch.setattr(module.tracking, "make_tracker", lambda *_: tracker)
    return tracker


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch, tracker: Any) -> Any:
    """Let a study have nothing to do but to end; return what writes its outputs."""
    outputs = create_autospec(module.write_results)
    monkeypatch.setattr(module, "ray_session", lambda *_: nullcontext(Mock()))
    monkeypatch.setattr(module, "run_trials", lambda *_: None)
    monkeypatch.setattr(module, "write_results", outputs)
    monkeypatch.setattr(module, "print_results", lambda *_: None)
    return outputs


@pytest.mark.usefixtures("ending")
@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_study_interrupted_after_its_trials_is_closed_and_prints_how_to_resume(
    unsearched: Study, console: Console, output: io.StringIO, tracker: Any, name: signal.Signals
):
    tracker.register.side_effect = lambda: signal.raise_signal(name)
    tracker.close.return_value = TrackerMessages("1 run:\n  trial: away")
    with reacting():
        before = signal.getsignal(name)
        with pytest.raises(InterruptedStudyError, match=rf"interrupted; to continue, run{GO_ON}"):
            run_study(unsearched, console, resume=False)
        assert signal.getsignal(name) is before
    tracker.close.assert_called_once_with(finished=False)
    assert "the tracker lacks 1 run:\n  trial: away" in output.getvalue()


@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_a_finished_study_that_sends_its_rest_and_kill_does_not(
    unsearched: Study, console: Console, tracker: Any, ending: Any, name: signal.Signals
):
    closed = []

    def close(*, finished: bool) -> TrackerMessages:
        signal.raise_signal(name)
        closed.append(finished)
        return TrackerMessages()

    ending.side_effect = lambda result, *_: result.folder.write(DESCRIPTION, b"")
    tracker.close.side_effect = close
    sync = pytest.raises(InterruptedStudyError, match=r"clipfit-study sync \S*mine")
    with reacting(), sync if name == signal.SIGINT else nullcontext():
        run_study(unsearched, console, resume=False)
    assert closed == [True] * (name == signal.SIGTERM)


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
    run_study(study_of(config), console, resume=False, in_process=True)
    assert opened == {"digits": 1}
    lines = output.getvalue().splitlines()
    (made,) = (n for n, line in enumerate(lines) if line.startswith("finish   making tables"))
    assert "test     2/2 done" in "\n".join(lines[:made])
