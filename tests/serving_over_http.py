"""`mlflow models serve` as a user starts it, and a client of it."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from study.storage.result_folder import JsonObject
from tests.environments import outside
from tests.ports import free_port


@contextmanager
def served(model: str, uri: str, log: Path, fresh: Path | None = None) -> Iterator[str]:
    """Serve a registered model, and yield the address.

    Args:
        model: the address of the model in the registry.
        uri: the tracking server or store.
        log: the file that the server writes to; it works in its folder.
        fresh: the programs of a fresh environment that serves it; None means those of this one.
    """
    programs = fresh or Path(sys.executable).parent
    port = str(free_port())
    address = f"http://127.0.0.1:{port}"
    python = str(programs / "python")
    command = [python, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    environment = {
        **(outside() if fresh else os.environ),
        "MLFLOW_TRACKING_URI": uri,
        # It starts uvicorn by name, as in an activated environment.
        "PATH": f"{programs}:{os.environ['PATH']}",
    }
    with log.open("w") as output:
        server = subprocess.Popen(
            [*command, "-m", model, "--port", port],
            cwd=log.parent, env=environment, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            _wait_until_it_answers(server, address, log)
            yield address
        finally:
            server.terminate()
            server.wait(timeout=30)


def _wait_until_it_answers(server: "subprocess.Popen[bytes]", address: str, log: Path):
    for _ in range(480):
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{address}/ping", timeout=5):
                return
        except OSError:
            time.sleep(0.25)
    pytest.fail(f"the model is not served:\n{log.read_text()[-2000:]}")


def ask(address: str, images: list[str] | str) -> list[JsonObject]:
    """Return what a served model says of images in base64."""
    request = urllib.request.Request(
        f"{address}/invocations",
        data=json.dumps({"inputs": images}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        rows = json.load(answer)["predictions"]
    return rows
