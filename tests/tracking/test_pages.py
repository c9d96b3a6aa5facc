"""A finished study in MLflow's pages, seen by a real browser."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from mlflow import MlflowClient

from study.conduct import write_outputs
from study.tracking.mirror import sync_study
from study.tracking.views import runs_page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
SECONDS = 90.0
"""A page may take on a busy machine."""

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


class Browser:
    """Headless chromium on one page, driven by its own debugging protocol."""

    def __init__(self, profile: Path) -> None:
        self._process = subprocess.Popen(
            [
                *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update"),
                *("--disable-sync", "--window-size=1600,1000", "--remote-debugging-port=0"),
                # An artifact is shown in a sandboxed frame, which would be out of our reach.
                "--disable-features=IsolateSandboxedIframes",
                *(f"--user-data-dir={profile}", "about:blank"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._loop = asyncio.Runner()
        self._session: aiohttp.ClientSession
        self._socket: Any
        self._calls = 0
        told = profile / "DevToolsActivePort"
        _wait_for(lambda: told.exists() and bool(told.read_text()), "chromium starts")
        self._loop.run(self._connect(told.read_text().split()[0]))

    def open(self, address: str) -> None:
        """Go to a page anew: an address that differs after # alone is otherwise not loaded."""
        self._call("Page.navigate", url="about:blank")
        self._call("Page.navigate", url=address)

    def text(self) -> str:
        """Give the words on the page, those in frames included."""
        root = self._call("DOM.getDocument", depth=-1, pierce=True).get("root")
        return " ".join(" ".join(_texts(root)).split()) if root else ""

    def wait_for_text(self, *wanted: str) -> str:
        """Wait until all of it is on the page; give the text."""
        seen: list[str] = [""]

        def is_there() -> bool:
            seen[0] = self.text()
            return all(text in seen[0] for text in wanted)

        _wait_for(is_there, f"{wanted} to be on the page", seen)
        return seen[0]

    def close(self) -> None:
        """End it."""
        self._loop.run(self._disconnect())
        self._loop.close()
        self._process.terminate()
        self._process.wait(timeout=30)

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        async def ask() -> dict[str, Any]:
            self._calls += 1
            await self._socket.send_json(
                {"id": self._calls, "method": method, "params": parameters}
            )
            while True:
                answer = await self._socket.receive_json(timeout=SECONDS)
                if answer.get("id") == self._calls:
                    result: dict[str, Any] = answer.get("result", {})
                    return result

        return self._loop.run(ask())

    async def _connect(self, port: str) -> None:
        self._session = aiohttp.ClientSession()
        async with self._session.get(f"http://127.0.0.1:{port}/json") as answer:
            pages = [page for page in await answer.json() if page["type"] == "page"]
        self._socket = await self._session.ws_connect(
            pages[0]["webSocketDebuggerUrl"], max_msg_size=0
        )

    async def _disconnect(self) -> None:
        await self._socket.close()
        await self._session.close()


def _texts(node: dict[str, Any]) -> Iterator[str]:
    """Give the words of a document and of the documents framed in it."""
    if node["nodeName"] in ("SCRIPT", "STYLE"):
        return
    if node["nodeName"] == "#text":
        yield node["nodeValue"]
    for child in [*node.get("children", []), *filter(None, [node.get("contentDocument")])]:
        yield from _texts(child)


def _wait_for(is_so: Callable[[], bool], what: str, seen: list[str] | None = None) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {SECONDS:.0f} s for {what}; there was {(seen or [''])[0][-800:]}")
        time.sleep(0.25)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def shown(
    finish: Callable[..., Any], mlflow_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """A finished study that the server has whole, report and all."""
    study = finish(tmp_path_factory.mktemp("shown"), "shown", experiment="shown")
    write_outputs(study.folder)
    sync_study(study.config, study.folder, mlflow_server, lambda: write_outputs(study.folder))
    return study


def page(server: str, rest: str = "", view: str = "studies") -> str:
    experiment = MlflowClient(server).get_experiment_by_name("shown")
    assert experiment is not None
    address = runs_page(server, experiment.experiment_id, view)
    path, query = address.split("?")
    return f"{path}{rest}?{query}"


def parent_id(server: str) -> str:
    client = MlflowClient(server)
    experiment = client.get_experiment_by_name("shown")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], "tags.stage = 'study'")
    return str(found[0].info.run_id)


def test_the_winner_is_the_first_row_of_the_trials_with_its_settings(
    browser: Browser, shown: Any, mlflow_server: str
) -> None:
    browser.open(page(mlflow_server, view="trials"))
    text = browser.wait_for_text("trial 1", "trial 2", "val_score", "subset", "3 matching runs")
    assert text.index("trial 1") < text.index("trial 2") < text.index("zero-shot")
    assert "text.mlp.fc2.bias + vision.ln" in text


def test_seeds_of_a_candidate_are_one_group(
    browser: Browser, shown: Any, mlflow_server: str
) -> None:
    browser.open(page(mlflow_server, view="confirmed"))
    browser.wait_for_text("best · seed 1", "best · seed 2", "label: best")


def test_the_studys_page_says_what_won_and_how_to_load_it(
    browser: Browser, shown: Any, mlflow_server: str
) -> None:
    browser.open(page(mlflow_server, f"/{parent_id(mlflow_server)}"))
    version = shown.folder.registration.uri
    browser.wait_for_text(
        "% on test", f'mlflow.pyfunc.load_model("{version}").predict', "clipfit-digits"
    )


def test_the_report_renders_among_the_artifacts(
    browser: Browser, shown: Any, mlflow_server: str
) -> None:
    browser.open(page(mlflow_server, f"/{parent_id(mlflow_server)}/artifacts/report.html"))
    browser.wait_for_text("What was asked", "What to use")
