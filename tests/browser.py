"""Headless chromium on one page, driven by its own debugging protocol."""

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp

from study.storage.result_folder import JsonObject

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
SECONDS = 90.0
"""A page may take on a busy machine."""
# Sent to the element and not to a place on the page: what slides open would have moved on.
CLICK = """(() => {
  const found = [...document.querySelectorAll("*")].filter((one) => one.textContent === %s);
  const shown = found.filter((one) => one.getClientRects().length).at(-1);
  for (const kind of shown ? ["mousedown", "mouseup", "click"] : [])
    shown.dispatchEvent(new MouseEvent(kind, {bubbles: true, cancelable: true}));
  return !!shown;
})()"""


class Browser:
    """A page of a chromium of its own, whose profile is an empty folder."""

    def __init__(self, profile: Path):
        self._process = subprocess.Popen(
            [
                *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update"),
                *("--disable-sync", "--hide-scrollbars", "--remote-debugging-port=0"),
                # An artifact is shown in a sandboxed frame, which would be out of our reach.
                "--disable-features=IsolateSandboxedIframes",
                *("--window-size=1600,1000", f"--user-data-dir={profile}", "about:blank"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._loop = asyncio.Runner()
        self._session: aiohttp.ClientSession
        self._socket: Any
        self._calls = 0
        message = profile / "DevToolsActivePort"
        _wait_for(lambda: message.exists() and bool(message.read_text()), "chromium starts")
        self._loop.run(self._connect(message.read_text().split()[0]))

    def open(self, address: str):
        """Go to a page anew: an address that differs after # alone is otherwise not loaded."""
        self._call("Page.navigate", url="about:blank")
        self._call("Page.navigate", url=address)

    def show_as(self, width: int, scheme: str):
        """Show pages in a width that no window may have, and light or dark."""
        sizes = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **sizes)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._call("Emulation.setEmulatedMedia", features=features)

    def text(self) -> str:
        """Give the words on the page, those in frames included."""
        root = self._call("DOM.getDocument", depth=-1, pierce=True).get("root")
        return " ".join(" ".join(_texts(root)).split()) if root else ""

    def wait_for_text(self, *wanted: str) -> str:
        """Wait until all of it is on the page; give the text."""

        def is_there() -> bool:
            seen = self.text()
            return all(text in seen for text in wanted)

        _wait_for(is_there, f"{wanted} to be on the page")
        return self.text()

    def evaluate(self, script: str) -> Any:
        """Give the value of an expression of JavaScript, awaited where it is a promise."""
        answer = self._call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        return answer.get("result", {}).get("value")

    def wait_for(self, script: str):
        """Wait until an expression of JavaScript is true."""
        _wait_for(lambda: self.evaluate(script) is True, script)

    def click(self, text: str):
        """Wait for an element that holds this text and nothing else, and click on it."""
        self.wait_for(CLICK % json.dumps(text))

    def close(self):
        """End it."""
        self._loop.run(self._disconnect())
        self._loop.close()
        self._process.terminate()
        self._process.wait(timeout=30)

    def _call(self, method: str, **parameters: Any) -> JsonObject:
        return self._loop.run(self._ask(method, parameters))

    async def _ask(self, method: str, parameters: JsonObject) -> JsonObject:
        self._calls += 1
        await self._socket.send_json({"id": self._calls, "method": method, "params": parameters})
        while True:
            answer = await self._socket.receive_json(timeout=SECONDS)
            if answer.get("id") == self._calls:
                result: JsonObject = answer.get("result", {})
                return result

    async def _connect(self, port: str):
        self._session = aiohttp.ClientSession()
        async with self._session.get(f"http://127.0.0.1:{port}/json") as answer:
            pages = [page for page in await answer.json() if page["type"] == "page"]
        self._socket = await self._session.ws_connect(
            pages[0]["webSocketDebuggerUrl"], max_msg_size=0
        )

    async def _disconnect(self):
        await self._socket.close()
        await self._session.close()


def _texts(node: JsonObject) -> Iterator[str]:
    """Give the words of a document and of the documents framed in it."""
    if node["nodeName"] in ("SCRIPT", "STYLE"):
        return
    if node["nodeName"] == "#text":
        yield node["nodeValue"]
    for child in [*node.get("children", []), *filter(None, [node.get("contentDocument")])]:
        yield from _texts(child)


def _wait_for(is_so: Callable[[], bool], what: str):
    deadline = time.monotonic() + SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {SECONDS:.0f} s for {what}")
        time.sleep(0.25)
