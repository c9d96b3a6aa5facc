"""A whole study with secrets planted around it and class names that try to get out of their place.

One study on real Ray and a real MLflow server; the tests look at what it opened, made and said.
"""

import os
import pickle
import re
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from PIL import Image

from study import run as run_module
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import TrialFolder
from study.trial.predictions import read_predictions
from tests.security.test_planted_code import Planted

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

SCRIPT = Path(run_module.__file__ or "")
SECRET = "pl4nted"
"""Part of everything that must stay where it is."""
PLANTED = {
    "HF_TOKEN": f"hf_{SECRET}1",
    "AWS_ACCESS_KEY_ID": f"AKIA{SECRET}2",
    "AWS_SECRET_ACCESS_KEY": f"{SECRET}3",
    "AZURE_STORAGE_CONNECTION_STRING": f"AccountKey={SECRET}4",
    "GOOGLE_API_KEY": f"{SECRET}5",
    "OPENAI_API_KEY": f"{SECRET}6",
}
NAMES = [
    "it's",
    '"quoted"',
    "🐈 cat",
    "</script><script>owned()</script>",
    "<img src=x onerror=owned()>",
    "a|b *c* [d](e) `f`",
    "[bold red]x[/]",
    "{{ 7*7 }} {} %s ${HOME}",
    "=1+1;\\n\\t$(touch owned)",
    "x" * 60,
]


@dataclass
class Watched:
    """A study that was run to its end, and what was seen of its processes meanwhile."""

    place: Path
    environment: dict[str, str]
    output: str = ""
    sockets: set[tuple[str, str]] = field(default_factory=set)
    sessions: set[Path] = field(default_factory=set)
    """Folders of Ray's logs."""
    stranger: str = ""
    """The answer to someone without the token."""

    @property
    def folder(self) -> StudyFolder:
        """Of the study."""
        return StudyFolder(self.place / "runs" / "hostile")

    @property
    def tests(self) -> list[TrialFolder]:
        """Of the study, after its search."""
        return [trial for trial, _ in self.folder.trials_of("test")]

    def run(self, *arguments: str) -> str:
        """Run the command to its end, and look at its processes as it goes."""
        with (self.place / "output.txt").open("w+") as output:
            driver = subprocess.Popen(
                [sys.executable, str(SCRIPT), *arguments],
                cwd=self.place,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                while driver.poll() is None:
                    self._look(driver.pid)
                    time.sleep(0.3)
            finally:
                driver.kill()
                driver.wait()
            output.seek(0)
            said = output.read()
        assert driver.returncode == 0, said
        return said

    def _look(self, driver: int):
        lines = []
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(driver)
            for process in (root, *root.children(recursive=True)):
                with suppress(psutil.Error):
                    lines.append(" ".join(process.cmdline()))
                    for connection in process.net_connections("tcp"):
                        if connection.status == psutil.CONN_LISTEN:
                            address = connection.laddr.ip.removeprefix("::ffff:")
                            self.sockets.add((address, process.name()))
        for line in lines:
            if found := re.search(r"--session[-_]dir=(\S+)", line):
                self.sessions.add(Path(found[1]))
            has_begun = any(self.folder.path.glob("trials/*/end.json"))
            found = re.search(r"--gcs-address=(\S+)", line)
            if found and has_begun and not self.stranger:
                self.stranger = self._ask_without_token(found[1])

    def _ask_without_token(self, address: str) -> str:
        code = (
            "from ray._raylet import GcsClient\n"
            f"print(GcsClient(address={address!r}).get_all_node_info(timeout=20))"
        )
        asked = subprocess.run(
            [sys.executable, "-c", code],
            env={**self.environment, "RAY_AUTH_MODE": "disabled"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return f"{asked.returncode} {asked.stdout} {asked.stderr}"


@pytest.fixture(scope="module")
def watched(mlflow_server: str, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    place = tmp_path_factory.mktemp("hostile")
    rows = ["path\tlabel\tclass_name\tsplit"]
    for label, name in enumerate(NAMES):
        for number, split in enumerate(["train"] * 4 + ["test"] * 2):
            path = f"{label}/{number}.png"
            (place / str(label)).mkdir(exist_ok=True)
            # A bar elsewhere in each class: what does not beat chance would not be registered.
            image = Image.new("RGB", (16, 16), (20 * number,) * 3)
            bar = (label, 0, label + 5, 16) if label % 2 else (0, label, 16, label + 5)
            image.paste((255, 255, 255), bar)
            image.save(place / path)
            quoted = name.replace('"', '""')
            rows.append(f'{path}\t{label}\t"{quoted}"\t{split}')
    (place / "table.tsv").write_text("\n".join(rows))
    (place / "home").mkdir()
    scheme, _, host = mlflow_server.partition("://")
    environment = {
        **os.environ,
        **PLANTED,
        "HOME": str(place / "home"),
        "MLFLOW_TRACKING_URI": f"{scheme}://user:{SECRET}0@{host}",
    }
    study = Watched(place, environment)
    study.output = study.run(
        "quickstart",
        *("name=hostile", "data.dataset=mine", "data.root=table.tsv", "data.shots=2"),
        *("data.val_shots=2", "training.epochs=12", "training.batch_size=4"),
        *("search.space.rates.bias=[0.05,0.3]", "search.space.rates.ln=[0.05,0.3]"),
        *("search.space.distill_weight=[0.01,0.1]", "search.trials=9"),
        *("search.selection=holdout", "search.asha=null"),
        *("test.seeds=[1,2]", "test.runners_up=0", "tracking.experiment=hostile"),
    )
    return study


def test_every_class_has_its_name_in_the_results(watched: Watched):
    predictions = read_predictions(watched.folder, watched.tests[0].trial_id)
    assert {(p.part, p.label) for p in predictions} == {("accuracy", name) for name in NAMES}
    assert "Traceback" not in watched.output
    assert not (watched.place / "owned").exists()


def test_no_secret_is_in_a_file_that_the_study_made_or_in_rays_logs(watched: Watched):
    assert SECRET not in watched.output
    assert watched.sessions
    for place in (watched.place, *watched.sessions):
        files = [path for path in place.rglob("*") if path.is_file() and not path.is_symlink()]
        assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


def test_it_listens_on_the_machine_itself_alone_and_refuses_a_stranger(watched: Watched):
    assert {name for _, name in watched.sockets} >= {"gcs_server", "raylet"}
    assert {address for address, _ in watched.sockets} <= {"127.0.0.1", "::1"}
    assert watched.stranger[:1] not in ("", "0")
    assert "nauthenticated" in watched.stranger


def test_a_resumed_study_unpickles_nothing_of_its_folder(watched: Watched):
    folder, trace = watched.folder.path, watched.place / "trace"
    poison = pickle.dumps(Planted(trace))
    tune = folder / "tune"
    tune.mkdir(exist_ok=True)
    names = ["tuner.pkl", "trainable.pkl", "searcher.pkl", "search_gen_state-2026.json"]
    pickles = list(folder.rglob("*.pkl"))
    for path in (*pickles, *(tune / name for name in names), tune / "experiment_state-9.json"):
        path.write_bytes(poison)
    trial = watched.tests[1]
    (trial.path / "end.json").unlink()
    (trial.path / "state.safetensors").write_bytes(poison)
    watched.run("resume", "hostile")
    assert trial.read_end() is not None
    assert not trace.exists()
