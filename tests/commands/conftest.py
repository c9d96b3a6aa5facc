"""What tests of commands and studies share: a folder with a study, and small ones to run."""

import io
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from study.commands.main import main
from study.config.loading import build_config
from study.config.schema import StudyConfig
from study.storage.study_folder import StudyFolder
from tests.messages import Ran
from tests.results.conftest import ablation_study, few_shot_study, tuned_study
from tests.study_writer import StudyWriter

__all__ = ["ablation_study", "few_shot_study", "tuned_study"]

Configure = Callable[..., StudyConfig]
Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Carry out a command line; return what it came to, and what it printed."""

    def run(*words: object) -> Ran:
        code = main([str(word) for word in words])
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture
def refused(run: Run) -> Callable[..., str]:
    """Carry out a command line that must be refused; return its message, on one line."""

    def refused(*words: object) -> str:
        ran = run(*words)
        assert ran.code == 2
        assert ran.err.startswith("error: ")
        return " ".join(ran.err.split())

    return refused


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder whose ``runs`` has the studies."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def mine(here: Path) -> StudyFolder:
    """A study of two trials, one of which is finished."""
    written = StudyWriter(here / "runs" / "mine")
    written.whole(1)
    written.report(written.trial(2), 1)
    return written.folder


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


@contextmanager
def reacting() -> Iterator[None]:
    """Let no signal be ignored that was, as those of a terminal are in the background."""
    handlers: dict[signal.Signals, Any] = {
        signal.SIGHUP: signal.SIG_DFL,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGINT: signal.default_int_handler,
    }
    with ExitStack() as stack:
        for name, handler in handlers.items():
            stack.callback(signal.signal, name, signal.signal(name, handler))
        yield
