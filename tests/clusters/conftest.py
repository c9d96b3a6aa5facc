"""Machines in network namespaces: what `ray up` and `ray submit` need to be real on one computer.

Each machine has a network, processes, a home folder and a name of its own, and an SSH server; all
of them see one shared folder. Nothing of it is in the computer's own network, and the machines end
with the test.
"""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from study.storage.study_folder import StudyFolder
from tests.not_none import not_none
from tests.study_writer import StudyWriter
from tests.tracking.mlflow.records import assert_whole

ROOT = Path(__file__).parents[2]
HOME = Path(pwd.getpwuid(os.getuid()).pw_dir)
NETWORK = "10.77.0"
SMALL = ["quickstart", "search.selection=holdout", "search.asha=null", "data.shots=4"]
SMALL += ["data.augment=false", "test.seeds=[1,2]", "test.runners_up=0"]
SMALL += ["final.images=shots"]
"""The words of a study of few and short trials."""

SSHD_CONFIG = """\
Port 22
HostKey {keys}/host
PidFile none
AuthorizedKeysFile {keys}/user.pub
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PrintMotd no
MaxStartups 100
"""


@dataclass
class Machine:
    """A machine that runs; ``leader`` is its first process, with which all others end."""

    name: str
    address: str
    home: Path
    leader: int
    starter: "subprocess.Popen[bytes]"

    def command(self, arguments: Sequence[str], cwd: Path = ROOT) -> list[str]:
        """The command that runs something on this machine."""
        enter = ["nsenter", "--target", str(self.leader), "-m", "-u", "-n", "-p", f"--wd={cwd}"]
        environment = {
            "HOME": str(HOME),
            "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "TERM": "xterm",
            "RAY_AUTH_MODE": "token",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_UP_enable_autoscaler_v2": "0",
        }
        return [*enter, "env", "-i", *(f"{k}={v}" for k, v in environment.items()), *arguments]

    def run(
        self, *arguments: str, timeout: float = 300.0, check: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end; what it says comes as one text."""
        done = subprocess.run(
            self.command(arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            pytest.fail(f"{' '.join(arguments)} gave {done.returncode}:\n{done.stdout[-6000:]}")
        return done

    def shell(self, script: str) -> str:
        """What a shell with the environment of the cluster file says."""
        return self.run("bash", "-c", f". ~/.bashrc\n{script}", check=False).stdout

    def processes(self, pattern: str) -> list[int]:
        """The machine's processes whose command line matches, by its own ids."""
        found = self.run("pgrep", "-f", pattern, check=False).stdout
        return [int(line) for line in found.split()]

    def kill(self):
        """Take the power away."""
        self.starter.send_signal(signal.SIGKILL)  # its child, the leader, is asked to die with it
        self.starter.wait(timeout=30)


@dataclass
class Site:
    """A laptop, a head, a worker, and the cluster file that names them."""

    laptop: Machine
    head: Machine
    worker: Machine
    shared: Path
    """The folder that the machines share; the cluster file's STUDY_CONFIG is small.yaml in it."""
    cluster_file: Path

    def submit(self, *arguments: str) -> list[str]:
        """The command of a study, on the laptop."""
        submit = ("ray", "submit", str(self.cluster_file), "study/run.py")
        return self.laptop.command([*submit, *(("--", *arguments) if arguments else ())])


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Three machines, with the cluster of two of them not yet started."""
    skip_without_namespaces()
    folder = tmp_path_factory.mktemp("machines")
    keys, shared = folder / "keys", folder / "shared"
    for path in (keys, shared):
        path.mkdir()
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name)], check=True
        )
    (keys / "sshd_config").write_text(SSHD_CONFIG.format(keys=keys))
    token = secrets.token_hex(32)
    prefix = f"clipfit{os.getpid()}"
    machines = {}
    try:
        _make_networks(prefix)
        for number, name in enumerate(("laptop", "head", "worker"), start=1):
            machines[name] = _start(name, number, f"{prefix}-{name}", folder, token)
        config = yaml.safe_load((ROOT / "clusters" / "local.yaml").read_text())
        config["cluster_name"] = prefix
        config["provider"] |= {
            "head_ip": machines["head"].address,
            "worker_ips": [machines["worker"].address],
        }
        # As this interpreter is: a machine here has its environment.
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        script = "bash ~/clipfit/clusters/node.sh"
        config["setup_commands"][0] = f"{script} install {python} {version('ray')}"
        configured = "$HOME/clipfit/configs/quickstart.yaml"
        assert configured in config["setup_commands"][1]
        config["setup_commands"][1] = config["setup_commands"][1].replace(
            configured, "$HOME/clipfit-shared/small.yaml"
        )
        config["auth"] = {"ssh_user": pwd.getpwuid(0).pw_name, "ssh_private_key": f"{keys}/user"}
        cluster_file = folder / "local.yaml"
        cluster_file.write_text(yaml.safe_dump(config))
        yield Site(**machines, shared=shared, cluster_file=cluster_file)
    finally:
        for machine in machines.values():
            if machine.starter.poll() is None:
                machine.kill()
        for name in ("laptop", "head", "worker"):
            subprocess.run(["ip", "netns", "delete", f"{prefix}-{name}"], check=False)


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head that trains nothing, to which nodes are added."""
    from ray.cluster_utils import Cluster

    # Else whatever Ray starts next on this computer would join. Short, since sockets lie in it.
    with tempfile.TemporaryDirectory(prefix="nodes-") as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        cluster = Cluster()
        cluster.add_node(num_cpus=0, include_dashboard=False)
        yield cluster
        cluster.shutdown()


class Running:
    """A command that runs, and what it has said so far, which is in a file of a folder."""

    def __init__(self, command: Sequence[str], place: Path, **options: Any):
        self._output = place / "said.txt"
        with self._output.open("wb") as file:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                **options,
            )

    @property
    def said(self) -> str:
        return self._output.read_text(errors="replace")

    def end_well(self):
        """Wait for its end, which must be a good one."""
        assert self.process.wait() == 0, self.said[-6000:]


def wait_for(what: str, happened: Callable[[], Any], seconds: float = 120.0) -> Any:
    """Wait until something is so, or fail and say what was not."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := happened():
            return value
        time.sleep(0.5)
    pytest.fail(f"{what}: not within {seconds:.0f} s")


def assert_finished(study: StudyFolder, uri: str):
    """All trials ran to their end, once, here and in MLflow."""
    assert_whole(uri, StudyWriter(study.path))
    assert {not_none(trial.read_end()).status for trial in study.trials()} == {"finished"}


def skip_without_namespaces():
    programs = ("ip", "nsenter", "pgrep", "rsync", "setpriv", "ssh", "ssh-keygen", "sshd")
    if missing := [
        p for p in programs if not shutil.which(p, path=f"{os.environ['PATH']}:/usr/sbin")
    ]:
        pytest.skip(f"needs {', '.join(missing)}: Debian's openssh-server, rsync, iproute2, procps")
    if os.getuid() != 0:
        pytest.skip("needs root, to make network namespaces")
    attempt = ["unshare", "-m", "-u", "-n", "-p", "-f", "--mount-proc", "true"]
    tried = subprocess.run(attempt, capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"this machine makes no namespaces: {tried.stderr.strip()}")


def _make_networks(prefix: str):
    """Give each machine a network; the laptop's is the switch between them."""

    def ip(*arguments: str):
        subprocess.run(["ip", *arguments], check=True)

    laptop = f"{prefix}-laptop"
    for name in ("laptop", "head", "worker"):
        ip("netns", "add", f"{prefix}-{name}")
        ip("-n", f"{prefix}-{name}", "link", "set", "lo", "up")
    ip("-n", laptop, "link", "add", "switch", "type", "bridge")
    ip("-n", laptop, "addr", "add", f"{NETWORK}.1/24", "dev", "switch")
    ip("-n", laptop, "link", "set", "switch", "up")
    for number, name in ((2, "head"), (3, "worker")):
        own = f"{prefix}-{name}"
        ip("-n", laptop, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", own)
        ip("-n", laptop, "link", "set", name, "master", "switch", "up")
        ip("-n", own, "addr", "add", f"{NETWORK}.{number}/24", "dev", "eth0")
        ip("-n", own, "link", "set", "eth0", "up")
        # Without a way out Ray takes loopback for the machine's address.
        ip("-n", own, "route", "add", "default", "via", f"{NETWORK}.1")


def _start(name: str, number: int, network: str, folder: Path, token: str) -> Machine:
    home, keys = folder / name, folder / "keys"
    (home / ".ray").mkdir(parents=True)
    (home / ".ray" / "auth_token").write_text(token)
    (home / ".profile").write_text("")
    (home / ".bashrc").write_text("")
    if name != "laptop":
        _make_environment(home / ".clipfit")
    mounts = []
    for path in {Path(sys.base_prefix), Path(sys.prefix), ROOT}:
        if path.is_relative_to(HOME):  # what the machine's own home is about to cover
            mounts.append(f"mkdir -p {home / path.relative_to(HOME)}")
            mounts.append(f"mount --bind {path} {home / path.relative_to(HOME)}")
    (home / "clipfit-shared").mkdir()
    Path("/tmp/ray").mkdir(exist_ok=True)
    (home / "tmp-ray").mkdir()
    script = "\n".join(
        [
            "set -e",
            "mount --make-rprivate /",
            *mounts,
            *([f"mount --bind {folder / 'shared'} {home / 'clipfit-shared'}"] * (name != "laptop")),
            f"mount --bind {home / 'tmp-ray'} /tmp/ray",
            f"mount --rbind {home} {HOME}",
            "mount -t tmpfs -o size=8g tmpfs /dev/shm",
            "mkdir -p /run/sshd",
            f"hostname {name}",
            f"exec {shutil.which('sshd', path='/usr/sbin:/usr/bin')} -D -e -f {keys}/sshd_config",
        ]
    )
    with (folder / f"{name}.log").open("wb") as log:
        starter = subprocess.Popen(
            [
                # The machine ends with this process, however that ends.
                *("setpriv", "--pdeathsig", "KILL"),
                *("ip", "netns", "exec", network, "unshare", "-m", "-u", "-p", "-f"),
                *("--mount-proc", "--kill-child=SIGKILL", "bash", "-c", script),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    children = Path(f"/proc/{starter.pid}/task/{starter.pid}/children")

    def leader() -> int:
        if starter.poll() is not None:
            pytest.fail(f"{name} does not start:\n{(folder / f'{name}.log').read_text()}")
        found = children.read_text().split()
        if found and "Server listening" in (folder / f"{name}.log").read_text():
            return int(found[0])
        return 0

    first = wait_for(f"{name} starts", leader, 20)
    return Machine(name, f"{NETWORK}.{number}", home, first, starter)


def _make_environment(folder: Path):
    """Make what `node.sh install` would, of what this interpreter has, without a network."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    minor = f"python{sys.version_info.major}.{sys.version_info.minor}"
    paths = folder / "lib" / minor / "site-packages" / "clipfit.pth"
    paths.write_text(f"{HOME}/clipfit\n{sysconfig.get_path('purelib')}\n")
    python = HOME / ".clipfit" / "bin" / "python"
    programs = {
        "ray": f"#!{python}\nimport sys\nfrom ray.scripts.scripts import main\nsys.exit(main())\n",
        "pip": "#!/bin/sh\n# All is installed.\n",
    }
    for name, text in programs.items():
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
