"""Whether the hub answers is found out within seconds."""

import threading

import pytest
from listening import listening

from study.storage.hub import endpoint, hub_silence


@pytest.fixture(autouse=True)
def _network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that nobody listens for, and no proxy."""
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")


def test_a_hub_that_nobody_answers_for_is_silent() -> None:
    assert endpoint() == "http://127.0.0.1:9"
    assert hub_silence() == "Connection refused"


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_a_variable_may_forbid_the_network(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "1")
    assert hub_silence() == f"{variable} is set"
    monkeypatch.setenv(variable, "0")
    assert hub_silence() == "Connection refused"


def test_a_hub_that_answers_anything_is_not_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(lambda hub: hub.sendall(b"HTTP/1.1 401 No\r\n\r\n")) as port:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
        assert hub_silence() is None


def test_a_hub_that_takes_a_connection_and_says_nothing_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("study.storage.hub.ANSWERS_WITHIN", 0.3)
    over = threading.Event()
    with listening(lambda _: over.wait()) as port:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
        assert hub_silence()
        over.set()
