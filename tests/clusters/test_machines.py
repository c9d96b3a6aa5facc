"""`ray up`, `ray submit`, `ray down` on machines in namespaces, as a user would type them.

The tests share one cluster and come in the order of the file; the last ones take it apart.
"""

import os
import pty
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from study.run import main
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import TrialFolder
from tests.clusters.conftest import Running, Site, assert_finished, wait_for
from tests.tracking_server import TrackingServer

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

TRAINABLE = "ray::(ClipFit|Resource)Trainable"
"""As Ray names the processes of trials."""
SEARCHED, METHODS = 8, 1
"""Trials of the search of a study here."""


@pytest.fixture(scope="module")
def cluster(site: Site, tiny_backbone: Path) -> Site:
    """The cluster, up: a head and a worker, whose own study is a small one called ``first``."""
    fewer = {"bitfit": None, "ln": None}
    search = {"trials": SEARCHED, "selection": "holdout", "asha": None, "baselines": fewer}
    config = {
        "name": "first",
        "data": {"dataset": "digits", "shots": 4, "augment": False},
        "backbone": {"name": str(tiny_backbone)},
        "training": {"epochs": 100},
        "search": search,
        "test": {"seeds": [1, 2], "runners_up": 0},
        "final": {"images": "shots"},
    }
    (site.shared / "small.yaml").write_text(yaml.safe_dump(config))
    site.laptop.run("ray", "up", "-y", str(site.cluster_file))
    wait_for("the worker joins", lambda: live_nodes(site) == 2)
    return site


def live_nodes(site: Site) -> int:
    found = re.search(r"(\d+) local\.cluster\.node", site.head.shell("ray status"))
    return int(found[1]) if found else 0


def folder_of(site: Site, study: str) -> StudyFolder:
    return StudyFolder(site.shared / "runs" / study)


def running(folder: StudyFolder) -> list[TrialFolder]:
    return [trial for trial in folder.trials() if trial.read_end() is None]


def assert_complete(site: Site, study: str, searched: int = SEARCHED):
    """All trials have ended well, here and in MLflow, and none is there twice."""
    folder = folder_of(site, study)
    assert len([*folder.trials_of("search")]) == searched + METHODS
    with laptop_server(site) as uri:
        assert_finished(folder, uri)


@contextmanager
def laptop_server(site: Site) -> Iterator[str]:
    """Serve what the head's MLflow has, which loopback keeps from the test."""
    folder = site.laptop.home / "mlflow"
    folder.mkdir(exist_ok=True)
    for mine, theirs in (
        (folder / "mlflow.db", site.head.home / "mlflow" / "mlflow.db"),
        (folder / "artifacts", site.shared / "artifacts"),
    ):
        if not mine.is_symlink():
            mine.symlink_to(theirs)
    server = TrackingServer(folder)
    server.start()
    yield server.address
    server.stop()


def test_a_study_runs_on_both_machines_and_its_results_are_in_mlflow_on_the_head(
    cluster: Site, tmp_path: Path
):
    """Submitted without an argument: the cluster file names its configuration."""
    seen = set()
    submitted = Running(cluster.submit(), tmp_path)
    while submitted.process.poll() is None:
        seen |= {m.name for m in (cluster.head, cluster.worker) if m.processes(TRAINABLE)}
        time.sleep(0.5)
    submitted.end_well()
    assert seen == {"head", "worker"}
    assert "clipfit" in submitted.said, "what was found is shown where the study was submitted"
    assert_complete(cluster, "first")


def test_ctrl_c_ends_the_driver_and_resume_and_extend_go_on(cluster: Site, tmp_path: Path):
    folder = folder_of(cluster, "interrupted")
    terminal, process = open_terminal(cluster.submit("name=interrupted"))
    wait_for(
        "trials are trained",
        lambda: any(len(t.read_reports()) > 3 for t in running(folder)),
        240,
    )
    os.write(terminal, b"\x03")
    code, said = read_to_end(terminal, process)
    assert code != 0
    assert "resume interrupted" in said
    wait_for("the driver ends", lambda: not cluster.head.processes("run.py"), 30)
    for command in (["resume"], ["extend", f"search.trials={SEARCHED + 2}"]):
        command.insert(1, "interrupted")
        Running(cluster.submit(*command), tmp_path).end_well()
    assert_complete(cluster, "interrupted", SEARCHED + 2)


def test_mlflow_is_open_to_the_head_alone_and_reached_from_the_laptop_through_ray_attach(
    cluster: Site,
):
    # Ray's own ports, between the machines, ask for the token; these do not.
    listening = cluster.head.run("ss", "-Htln").stdout.split("\n")
    by_port = {line.split()[3].rpartition(":")[2]: line.split()[3] for line in listening if line}
    assert by_port["5000"] == "127.0.0.1:5000"
    # Where Ray is installed without its dashboard, nothing listens at all.
    assert by_port.get("8265", "127.0.0.1:8265") == "127.0.0.1:8265"

    ask = "from urllib.request import urlopen; urlopen('http://127.0.0.1:5000/health')"

    def answers() -> bool:
        return bool(cluster.laptop.run("python", "-c", ask, check=False).returncode == 0)

    assert not answers(), "else the laptop has a server of its own"
    attach = ("ray", "attach", str(cluster.cluster_file), "-p", "5000")
    terminal, process = open_terminal(cluster.laptop.command(attach))
    wait_for("MLflow answers on the laptop", answers, 60)
    os.write(terminal, b"exit\n")
    read_to_end(terminal, process)


def test_a_machine_that_dies_loses_no_result_and_its_trials_go_on_elsewhere(
    cluster: Site, tmp_path: Path
):
    folder = folder_of(cluster, "bereaved")
    submitted = Running(cluster.submit("name=bereaved", "training.epochs=800"), tmp_path)
    wait_for(
        "trials are trained on both machines",
        lambda: (
            len([t for t in running(folder) if len(t.read_reports()) > 10]) >= 2
            and cluster.worker.processes(rf"{TRAINABLE}\.train")
        ),
        240,
    )
    cluster.worker.kill()
    before = {trial.trial_id: (trial.read_reports(), trial.read_end()) for trial in folder.trials()}
    submitted.end_well()
    assert_complete(cluster, "bereaved")
    for trial_id, (reports, end) in before.items():
        trial = folder.trial(trial_id)
        sure = reports[:-1]  # all but one that was half on disk, down to their seconds
        assert trial.read_reports()[: len(sure)] == sure
        assert end is None or trial.read_end() == end


def test_ray_down_ends_ray_and_keeps_the_results(cluster: Site, capsys: pytest.CaptureFixture[str]):
    cluster.laptop.run("ray", "down", "-y", str(cluster.cluster_file))
    wait_for("Ray ends", lambda: not cluster.head.processes("raylet|gcs_server"), 60)
    assert cluster.head.processes("mlflow"), "it can be browsed until it is ended"
    cluster.head.shell("bash ~/clipfit/clusters/node.sh end_mlflow")
    wait_for("MLflow ends", lambda: not cluster.head.processes("mlflow"), 30)
    assert main(["status", "first", f"storage={cluster.shared / 'runs'}"]) == 0
    assert "finished" in capsys.readouterr().out


def open_terminal(command: list[str]) -> tuple[int, int]:
    """Run a command in a terminal of its own; give the terminal and the process id."""
    process, terminal = pty.fork()
    if process == 0:
        os.execvp(command[0], command)
    return terminal, process


def read_to_end(terminal: int, process: int) -> tuple[int, str]:
    said = b""
    try:
        while part := os.read(terminal, 65536):
            said += part
    except OSError:  # the other side is closed
        pass
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), said.decode(errors="replace")
