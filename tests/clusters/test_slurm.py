"""`clusters/slurm.sh`, submitted to a SLURM of two nodes on this computer, as a user would.

SLURM's daemons are private: their keys, state and logs are in a temporary folder. Both nodes are
this computer, so the processes of a job on a node are known by their environment.
"""

import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from study.storage.study_folder import StudyFolder
from tests.clusters.conftest import ROOT, SMALL, assert_finished, wait_for
from tests.not_none import not_none
from tests.ports import free_port

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

NODES = ("node1", "node2")
FEW = ("search.trials=4", "search.baselines.bitfit=null", "search.baselines.ln=null")
LONG = ("training.epochs=4000",)
"""The words of a study that still trains when a signal, or a node's end, reaches its job."""
PATIENCE = 900.0
"""Seconds that a small study may take, or a part of it."""
CONFIG = """\
ClusterName=clipfit
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
GresTypes=gpu
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=7200
MessageTimeout=60
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmdSpoolDir={folder}/%n
StateSaveLocation={folder}/state
NodeName=node1 NodeHostname=localhost NodeAddr=127.0.0.2 Port={node1} CPUs=4 Gres=gpu:2
NodeName=node2 NodeHostname=localhost NodeAddr=127.0.0.3 Port={node2} CPUs=4 Gres=gpu:2
PartitionName=main Nodes=ALL Default=YES State=UP
"""
GPUS = "Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n"
"""Devices that stand for two GPUs of each node."""


@dataclass
class Slurm:
    """A SLURM that runs, and the folder from which jobs are submitted."""

    config: Path
    folder: Path
    backbone: Path

    def attempt(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """A command of a user, which may fail."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {"SLURM_CONF": str(self.config), "PYTHONPATH": str(ROOT), "PATH": path}
        return subprocess.run(
            command,
            cwd=self.folder,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def run(self, *command: str) -> str:
        """What a command of a user says."""
        done = self.attempt(*command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def submit(self, name: str, *words: str) -> "Job":
        """Submit a small study, by the script with its three lines edited."""
        words = (*SMALL, *FEW, f"backbone.name={self.backbone}", *words)
        lines = (ROOT / "clusters" / "slurm.sh").read_text().splitlines()
        marked = [n + 1 for n, line in enumerate(lines) if line.startswith("# EDIT:")]
        edited = (
            "#SBATCH --partition=main",
            "#SBATCH --nodes=2 --gpus-per-node=1 --cpus-per-task=2",
            f"name={name} words=({' '.join(words)})",
        )
        for number, line in zip(marked, edited, strict=True):
            assert lines[number].split("=")[0] == line.split("=")[0]
            lines[number] = line
        script = self.folder / f"{name}.sh"
        script.write_text("\n".join(lines))
        return Job(self, int(self.run("sbatch", "--parsable", str(script))), name)


@dataclass
class Job:
    """A job that was submitted, and its study."""

    slurm: Slurm
    number: int
    name: str
    known: set[psutil.Process] = field(default_factory=set)

    @property
    def study(self) -> StudyFolder:
        return StudyFolder(self.slurm.folder / "runs" / self.name)

    @property
    def said(self) -> str:
        return (self.slurm.folder / f"clipfit-{self.number}.log").read_text()

    def show(self, name: str) -> str:
        shown = self.slurm.run("scontrol", "--oneliner", "show", "job", str(self.number))
        return not_none(re.search(rf"\b{name}=(\S*)", shown))[1]

    def update(self, *values: str):
        self.slurm.run("scontrol", "update", f"JobId={self.number}", *values)

    def processes(self, node: str = "") -> set[psutil.Process]:
        """Its processes, or those on a node; each is known from then on.

        Ray's workers have lost their environment to their titles, and are known by their parents.
        """
        wanted = {"SLURM_CONF": str(self.slurm.config), "SLURM_JOB_ID": str(self.number)}
        wanted |= {"SLURMD_NODENAME": node} if node else {}
        found = set()
        for process in psutil.process_iter():
            with suppress(psutil.Error):  # it has ended, or is the system's
                if wanted.items() <= process.environ().items():
                    found |= {process, *process.children(recursive=True)}
        self.known |= found
        return found

    def command_lines(self, node: str) -> list[str]:
        lines = []
        for process in self.processes(node):
            with suppress(psutil.Error):
                lines.append(" ".join(process.cmdline()))
        return lines

    def trains_on(self, node: str) -> bool:
        return any("Trainable" in line for line in self.command_lines(node))

    def reports(self) -> dict[str, list[dict[str, object]]]:
        """The reports of each trial, without the last one, which may be half on disk."""
        return {trial.trial_id: trial.read_reports()[:-1] for trial in self.study.trials()}

    def await_training(self):
        """Wait until trials are trained on both nodes and some have reported."""
        wait_for(
            "trials are trained on both nodes",
            lambda: all(map(self.trains_on, NODES)) and any(self.reports().values()),
            PATIENCE,
        )

    def await_state(self, *states: str):
        wait_for(f"{states} of {self.name}", lambda: self.show("JobState") in states, PATIENCE)

    def assert_nothing_is_left(self):
        wait_for("its processes end", lambda: not any(map(is_alive, self.known)), PATIENCE)
        assert not self.processes()
        assert not list(Path("/tmp").glob(f"clipfit-{self.number}.*"))

    def assert_kept(self, before: dict[str, list[dict[str, object]]]):
        """No trial has begun anew since these reports."""
        for trial in self.study.trials():
            reports = before.get(trial.trial_id, [])
            assert trial.read_reports()[: len(reports)] == reports

    def assert_complete(self):
        """It ran to its end, with every trial once on disk and in MLflow, and nothing is left."""
        self.await_state("COMPLETED", "FAILED", "NODE_FAIL", "CANCELLED")
        assert (self.show("JobState"), self.show("ExitCode")) == ("COMPLETED", "0:0"), self.said
        assert_finished(self.study, f"sqlite:///{self.study.path}.mlflow.db")
        self.assert_nothing_is_left()


def is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory, tiny_backbone: Path) -> Iterator[Slurm]:
    path = f"{os.environ['PATH']}:/usr/sbin"
    programs = ("munged", "slurmctld", "slurmd", "sbatch")
    if missing := [program for program in programs if not shutil.which(program, path=path)]:
        pytest.skip(f"needs {', '.join(missing)}: Debian's slurmctld, slurmd, slurm-client, munge")
    if os.getuid() != 0:
        pytest.skip("needs root, as whom SLURM's daemons run")
    folder = tmp_path_factory.mktemp("slurm")
    (folder / "jobs").mkdir()
    (folder / "munge.key").touch(mode=0o600)
    (folder / "munge.key").write_bytes(secrets.token_bytes(1024))
    config = folder / "slurm.conf"
    ports = {name: free_port() for name in ("controller", *NODES)}
    config.write_text(CONFIG.format(folder=folder, **ports))
    (folder / "gres.conf").write_text(GPUS)
    munged = ["munged", "--foreground", "--force"]  # whoever else may not reach the socket
    munged += [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
    munged += [f"--socket={folder}/munge.socket", "--num-threads=10"]
    daemons: list[subprocess.Popen[bytes]] = []
    slurm = Slurm(config, folder / "jobs", tiny_backbone)

    def start(name: str, *options: str):
        with (folder / f"{len(daemons)}.log").open("wb") as log:
            daemon = subprocess.Popen(
                [not_none(shutil.which(name, path=path)), *options],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that Ctrl-C leaves them to end the jobs
            )
        daemons.append(daemon)

    try:
        start(*munged)
        wait_for("munged listens", (folder / "munge.socket").exists)
        start("slurmctld", "-D", "-f", str(config))
        wait_for("slurmctld answers", lambda: slurm.attempt("scontrol", "ping").returncode == 0)
        for node in NODES:
            start("slurmd", "-D", "-N", node, "-f", str(config))
        wait_for("both nodes are idle", lambda: "2 idle" in slurm.run("sinfo", "-h", "-o", "%D %T"))
        yield slurm
        slurm.run("scancel", "--user=root")
        wait_for("all jobs end", lambda: not slurm.run("squeue", "--noheader"), 90)
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            daemon.wait(timeout=60)


def test_a_study_ends_at_its_time_limit_and_the_requeued_job_finishes_it(slurm: Slurm):
    job = slurm.submit("limited", *LONG)
    job.await_training()
    for node in NODES:
        (raylet,) = (line for line in job.command_lines(node) if "raylet/raylet " in line)
        assert ",CPU,2" in raylet
        assert ",GPU,1" in raylet
    hours, minutes, _ = job.show("RunTime").split(":")
    # SLURM's signal comes two minutes before the limit, and so within a minute.
    job.update(f"TimeLimit={60 * int(hours) + int(minutes) + 3}")
    before = job.reports()
    job.await_state("PENDING")
    assert job.show("Restarts") == "1"
    assert not job.study.is_complete()
    job.assert_nothing_is_left()
    job.update("TimeLimit=60")  # SLURM starts it in two minutes
    job.assert_complete()
    job.assert_kept(before)
    after = {trial.trial_id: trial.read_reports() for trial in job.study.trials()}
    again = slurm.submit("limited")
    again.assert_complete()
    assert {t.trial_id: t.read_reports() for t in again.study.trials()} == after


def test_of_two_jobs_on_the_same_nodes_one_is_cancelled_and_the_other_does_not_notice(slurm: Slurm):
    jobs = [slurm.submit(name, *LONG) for name in ("one", "other")]
    for job in jobs:
        job.await_training()
    assert not jobs[0].processes() & jobs[1].processes()
    slurm.run("scancel", str(jobs[0].number))
    jobs[0].await_state("CANCELLED")
    jobs[0].assert_nothing_is_left()
    assert not jobs[0].study.is_complete()
    assert not jobs[0].study.has_driver()
    assert Path(f"{jobs[0].study.path}.mlflow.db").exists()
    jobs[1].assert_complete()


@pytest.mark.parametrize("node", NODES)
def test_a_node_that_goes_down_requeues_the_job_which_resumes_the_study(slurm: Slurm, node: str):
    job = slurm.submit(f"without-{node}", *LONG)
    job.await_training()
    before = job.reports()
    slurm.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    job.await_state("PENDING")
    assert not job.study.is_complete()
    job.assert_nothing_is_left()
    job.assert_complete()  # SLURM itself takes back a node that registers
    assert job.show("Restarts") == "1"
    job.assert_kept(before)


def test_the_exit_code_of_a_study_is_that_of_its_job(slurm: Slurm):
    job = slurm.submit("faulty", "training.epoch=3")
    job.await_state("FAILED")
    assert job.show("ExitCode") == "2:0"
    assert "training.epoch" in job.said
    job.assert_nothing_is_left()
