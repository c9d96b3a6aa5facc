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
from html.parser import HTMLParser
from pathlib import Path

import psutil
import pytest
from PIL import Image

from study import run as run_module
from study.storage.study_folder import StudyFolder
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
    """What someone without the token was told."""

    @property
    def folder(self) -> StudyFolder:
        """Of the study."""
        return StudyFolder(self.place / "runs" / "hostile")

    def run(self, *arguments: str) -> None:
        """Run the command to its end, and look at its processes as it goes."""
        with (self.place / "output.txt").open("w") as output:
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
        self.output = (self.place / "output.txt").read_text(encoding="utf-8")
        assert driver.returncode == 0, self.output

    def _look(self, driver: int) -> None:
        lines = ""
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(driver)
            for process in (root, *root.children(recursive=True)):
                with suppress(psutil.Error):
                    lines += " ".join(process.cmdline()) + "\n"
                    for connection in process.net_connections("tcp"):
                        if connection.status == psutil.CONN_LISTEN:
                            address = connection.laddr.ip.removeprefix("::ffff:")
                            self.sockets.add((address, process.name()))
        self.sessions |= {Path(name) for name in re.findall(r"--session[-_]dir=(\S+)", lines)}
        address = re.search(r"--gcs-address=(\S+)", lines)
        if address and not self.stranger and [*self.folder.path.glob("trials/*/end.json")]:
            self.stranger = self._ask_without_token(address[1])

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
    (place / "table.tsv").write_text("\n".join(rows), encoding="utf-8")
    (place / "home").mkdir()
    scheme, _, host = mlflow_server.partition("://")
    environment = {
        **os.environ,
        **PLANTED,
        "HOME": str(place / "home"),
        "MLFLOW_TRACKING_URI": f"{scheme}://user:{SECRET}0@{host}",
    }
    study = Watched(place, environment)
    study.run(
        "quickstart",
        *("name=hostile", "data.dataset=mine", "data.root=table.tsv", "data.shots=2"),
        *("data.val_shots=2", "training.epochs=12", "training.batch_size=4"),
        *("search.space.rates.bias=[0.05,0.3]", "search.space.rates.ln=[0.05,0.3]"),
        *("search.space.distill_weight=[0.01,0.1]", "search.trials=9"),
        *("search.selection=holdout", "search.asha=null"),
        *("confirm.seeds=[1,2]", "confirm.runners_up=0", "tracking.experiment=hostile"),
    )
    return study


class Page(HTMLParser):
    """Collects what a browser would run, and the text that it would show."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.handlers: list[str] = []
        self.scripts: list[str] = []
        self.shown = ""
        self._in = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in = tag
        self.handlers += [f"{name}={value}" for name, value in attrs if name.startswith("on")]

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in == "script":
            self.scripts.append(data)
        else:
            self.shown += data


def test_no_class_name_is_run_by_the_report(watched: Watched) -> None:
    folder = watched.folder.path
    assert not (watched.place / "owned").exists()
    page = Page(folder / "report.html")
    for name in ("</script><script>owned()</script>", "<img src=x onerror=owned()>", "{{ 7*7 }}"):
        assert name in page.shown
    assert not [handler for handler in page.handlers if "owned" in handler]
    assert page.scripts == []
    for plot in folder.glob("plots/*.svg"):
        drawn = Page(plot)
        assert drawn.handlers + drawn.scripts == []


def leaks(*folders: Path) -> list[Path]:
    """Return the files that have a secret."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if SECRET.encode() in path.read_bytes()]


def test_no_secret_is_in_a_file_that_the_study_made(watched: Watched) -> None:
    """Ray's logs are among them."""
    assert SECRET not in watched.output
    assert watched.sessions
    assert leaks(watched.place, *watched.sessions) == []


def test_all_that_a_study_listens_on_is_the_machine_itself(watched: Watched) -> None:
    assert {name for _, name in watched.sockets} >= {"gcs_server", "raylet"}
    outside = {(a, name) for a, name in watched.sockets if a not in ("127.0.0.1", "::1")}
    assert outside == set()


def test_a_stranger_without_the_token_is_refused(watched: Watched) -> None:
    assert watched.stranger
    assert watched.stranger[0] != "0"
    assert "nauthenticated" in watched.stranger


def test_a_resumed_study_unpickles_nothing_of_its_folder(watched: Watched) -> None:
    folder, trace = watched.folder.path, watched.place / "trace"
    poison = pickle.dumps(Planted(trace))
    tune = folder / "tune"
    tune.mkdir(exist_ok=True)
    names = ["tuner.pkl", "trainable.pkl", "searcher.pkl", "search_gen_state-2026.json"]
    names += ["experiment_state-9.json"]
    for path in (*folder.rglob("*.pkl"), *(tune / name for name in names)):
        path.write_bytes(poison)
    (folder / "trials/confirm-clipfit-seed2/end.json").unlink()
    (folder / "trials/confirm-clipfit-seed2/state.safetensors").write_bytes(poison)
    watched.run("resume", "hostile")
    assert watched.folder.trial("confirm-clipfit-seed2").read_end() is not None
    assert not trace.exists()
    pickle.loads(poison)
    assert trace.exists(), "the trap itself works"
