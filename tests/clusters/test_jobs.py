"""`ray job submit` to a cluster that is there already, with a dashboard and a token."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pytest

from study.storage.study_folder import StudyFolder
from tests.clusters.conftest import ROOT, SMALL, wait_for
from tests.ports import free_port
from tests.tracking_server import mlflow_at

pytestmark = [pytest.mark.long, pytest.mark.ci, pytest.mark.timeout(900)]

PACKAGE = ("study", "configs", "clusters", "pyproject.toml", "README.md", "LICENSE", ".gitignore")
STORE = "a secret of mine"


@dataclass
class Cluster:
    """A Ray with a dashboard, and the folder from which jobs are submitted to it."""

    address: str
    checkout: Path
    temporary: Path
    environment: dict[str, str]

    def ray(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `ray job …` as a user does."""
        return subprocess.run(
            [sys.executable, "-m", "ray.scripts.scripts", "job", *arguments],
            cwd=self.checkout,
            env=self.environment | {"RAY_ADDRESS": self.address},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=600,
        )

    def submit(self, *arguments: str, options: tuple[str, ...] = ()) -> tuple[int, str]:
        """Submit a study; return the exit code and all that is printed."""
        command = ["python", "study/run.py", *arguments]
        done = self.ray("submit", *options, "--working-dir", ".", "--", *command)
        return done.returncode, done.stdout


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    checkout = tmp_path_factory.mktemp("checkout")
    for name in PACKAGE:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, checkout / name)
    for name in ("runs/earlier/study.yaml", ".venv/lib/big.so", "mlflow.db"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text(STORE)
    port, dashboard, client, agent = (free_port() for _ in range(4))
    # Short, since sockets lie in it. Workers that outlive the head for a moment still write there.
    with tempfile.TemporaryDirectory(prefix="jobs-", ignore_cleanup_errors=True) as folder:
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "PYTHONPATH"))},
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": "a-token-of-this-test-alone-0123456789",
            "RAY_USAGE_STATS_ENABLED": "0",
            "HF_HUB_OFFLINE": "1",
        }
        start = ["start", "--head", "--block", f"--port={port}", "--num-cpus=2"]
        start += [f"--dashboard-port={dashboard}", "--dashboard-host=127.0.0.1"]
        start += [f"--ray-client-server-port={client}", f"--temp-dir={folder}"]
        # What a lost cluster has left may hold the usual port, and then no job starts.
        start += [f"--dashboard-agent-listen-port={agent}"]
        head = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", *start],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        cluster = Cluster(f"http://127.0.0.1:{dashboard}", checkout, Path(folder), environment)
        wait_for("it takes jobs", lambda: cluster.ray("list").returncode == 0, 300)
        yield cluster
        head.terminate()
        head.wait(60)


def test_a_study_that_fails_fails_its_submission(cluster: Cluster):
    code, said = cluster.submit("quickstart", "name=lost")
    assert code != 0
    assert "the study cannot start, 2 faults" in said
    assert "storage: runs would be in this job's copy of your folder" in said
    assert "/mlflow.db would be on whichever machine" in said
    assert "Traceback (most recent call last)" not in said.split("cannot start")[0]


def test_a_job_that_is_stopped_goes_on_as_another_with_nothing_but_the_package(
    cluster: Cluster, mlflow_server: str, tmp_path: Path
):
    places = [f"storage={tmp_path / 'shared'}", f"tracking.uri={mlflow_server}"]
    folder = StudyFolder(tmp_path / "shared" / "jobbed")
    words = [*SMALL, "search.trials=8", "training.epochs=3", "name=jobbed", *places]
    _, said = cluster.submit(*words, options=("--no-wait",))
    (job,) = set(re.findall(r"raysubmit_\w+", said))
    ends = folder.path / "trials"
    wait_for("three trials end", lambda: len([*ends.glob("*/end.json")]) >= 3, 300)
    assert cluster.ray("stop", job).returncode == 0
    ended = {t.trial_id: t.read_end() for t in folder.trials() if t.read_end() is not None}
    code, said = cluster.submit("resume", "jobbed", *places)
    assert code == 0, said
    assert "\n best " in said
    assert (folder.path / "report.html").exists()
    assert ended.items() <= {t.trial_id: t.read_end() for t in folder.trials()}.items()
    with mlflow_at(mlflow_server):
        own = "tags.study = 'jobbed'"
        runs = mlflow.search_runs(search_all_experiments=True, filter_string=own)
    assert set(runs.status) == {"FINISHED"}

    copies = cluster.temporary.glob("session_latest/runtime_resources/working_dir_files/_ray_pkg_*")
    (copy,) = (path for path in copies if path.is_dir())
    assert (copy / "study" / "run.py").exists()
    assert not [p for p in copy.rglob("*") if p.is_file() and p.read_bytes() == STORE.encode()]
