"""What all tests share: a quiet, offline environment and a small random CLIP on disk."""

import gc
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

# Before anything imports the libraries that read them.
os.environ.update(
    {
        "HF_HUB_OFFLINE": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "OMP_NUM_THREADS": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        # By default its workers give way to all other work, and hardly run beside it.
        "RAY_worker_niceness": "0",
        "TERM": "xterm",
        "TOKENIZERS_PARALLELISM": "false",
    }
)
for name in (
    *("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME"),
    *("STUDY_CONFIG", "STUDY_STORAGE", "RAY_ADDRESS"),
):
    os.environ.pop(name, None)

gc.disable()  # until all is imported: it takes a third of that time

TOGETHER = (
    *("tests/search/", "tests/faults/test_tracking_server.py", "tests/faults/test_storage.py"),
    *(f"tests/tracking/mlflow/test_{name}" for name in ("m", "s")),
)
"""Where most tests of a running Ray and of a running MLflow server are."""
CLUSTERS = "tests/clusters/"
"""Tests that mostly wait, each for machines of its own: one after the other, beside all else."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no file of long tests alone where these are not wanted, unless it is named."""
    if config.option.markexpr != "not long" or collection_path.suffix != ".py":
        return None
    text = collection_path.read_text()
    return re.search(r"(?m)^pytestmark = .*\.long\b", text) is not None or None


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    """Give each worker whole files, one all that shares a Ray or server, one all clusters."""

    class Scheduler(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            if nodeid.startswith(CLUSTERS):
                return CLUSTERS
            return "together" if nodeid.startswith(TOGETHER) else super()._split_scope(nodeid)

    return Scheduler(config, log)


def pytest_collection_finish():
    """Collect garbage from here on, and none of what is imported, which takes a second a time."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _no_earlier_outage(monkeypatch: pytest.MonkeyPatch):
    """Let no test give up waiting for storage because another one has."""
    from study.storage import atomic

    monkeypatch.setattr(atomic, "_outage", atomic._Outage())


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with a miniature of all seventeen: 4 classes, few images."""
    from tests import miniature

    root = tmp_path_factory.mktemp("data")
    for name in (*miniature.ELEVEN, *miniature.SHIFTED):
        miniature.make(name, root, classes=4, counts=(4, 2, 2))
    return root


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random CLIP of 16-pixel images that spells every word, as a Hugging Face folder."""
    from tests.small_clips import save_clip

    return save_clip(tmp_path_factory.mktemp("tiny-clip"))


@pytest.fixture(scope="session")
def make_study(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Make a `real_study.RealStudy` by name; values go over its configuration's sections.

    Its backbone is named by a relative folder.
    """
    from tests.real_study import RealStudy

    storage = tmp_path_factory.mktemp("runs")

    def make(name: str, **values: Any) -> Any:
        with chdir(tiny_backbone.parent):
            return RealStudy(storage, name, Path(tiny_backbone.name), **values)

    return make


def _once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Let one process make a folder of a name, and return it in each."""
    from filelock import FileLock

    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    place = shared / name
    with FileLock(f"{place}.lock"):
        if not place.exists():
            making = shared / f"making-{name}"
            making.mkdir()
            make(making)
            making.rename(place)
    return place


@pytest.fixture(scope="session")
def finish(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Make a `real_study.FinishedStudy` of a name in a folder; see there for what can differ."""
    from tests.real_study import FinishedStudy, run_trained

    trained = _once(tmp_path_factory, "trained", run_trained)
    return lambda place, name, **changes: FinishedStudy(place / name, trained, **changes)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A Ray of this process alone, of two CPUs and a GPU that is one in name alone."""
    import ray

    from study.search.driver import TUNE_ENVIRONMENT

    os.environ.update(TUNE_ENVIRONMENT)
    ray.init(
        address="local",
        num_cpus=2,
        num_gpus=1,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], str]:
    """Make an empty MLflow store in a folder and return its URI.

    It is a copy, since MLflow takes seconds to make its tables. All copies have one folder for the
    artifacts of the default experiment, so use another.
    """
    from mlflow import MlflowClient

    def make(place: Path):
        MlflowClient(f"sqlite:///{place / 'mlflow.db'}")

    template = _once(tmp_path_factory, "empty-store", make) / "mlflow.db"
    return lambda place: f"sqlite:///{shutil.copy(template, place)}"


@pytest.fixture(scope="session")
def mlflow_store(new_store: Callable[[Path], str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URI of a local MLflow store that all share."""
    return new_store(tmp_path_factory.mktemp("mlflow-store"))


@pytest.fixture(scope="session")
def mlflow_server(
    new_store: Callable[[Path], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of a real MLflow server on a free loopback port."""
    from tests.tracking_server import TrackingServer

    place = tmp_path_factory.mktemp("mlflow-server")
    new_store(place)
    server = TrackingServer(place)
    server.start()
    yield server.address
    server.stop()
