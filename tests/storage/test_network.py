"""Whether something answers is found out in the seconds that a caller has."""

import socket
import threading

import pytest
from listening import listening

from study.storage.network import silence, web_silence


def test_a_port_that_takes_a_connection_answers() -> None:
    with listening(lambda _: None) as port:
        assert silence("127.0.0.1", port, 5) is None


def test_a_port_that_nobody_listens_on_is_told_with_the_reason() -> None:
    assert silence("127.0.0.1", 9, 5) == "Connection refused"


def test_a_greeting_is_answered_rightly_or_by_something_else() -> None:
    with listening(lambda connection: connection.sendall(connection.recv(8).upper())) as port:
        for wanted, fault in ((b"HI", None), (b"HO", "what listens there is something else")):
            told = silence(
                "127.0.0.1", port, 5, greeting=b"hi", answers=lambda got, w=wanted: got == w
            )
            assert told == fault


def test_silence_after_the_connection_ends_in_time() -> None:
    over = threading.Event()
    with listening(lambda _: over.wait()) as port:
        assert silence("127.0.0.1", port, 0.2, greeting=b"hi")
        over.set()


def test_a_name_that_takes_long_to_be_looked_up_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over = threading.Event()
    monkeypatch.setattr(
        socket, "create_connection", lambda *_, **__: over.wait() and socket.socket()
    )
    assert silence("slow", 1, 0.2) == "no answer within 0.2 s"
    over.set()


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 70, "\udcff"])
def test_a_name_of_no_machine_is_told(host: str) -> None:
    assert silence(host, 1, 20)


@pytest.fixture
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.usefixtures("_no_proxy")
@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 503 Later\r\n\r\n"])
def test_a_web_server_with_any_answer_is_not_silent(answer: bytes) -> None:
    with listening(lambda connection: connection.sendall(answer)) as port:
        assert web_silence(f"http://127.0.0.1:{port}", 5) is None


@pytest.mark.usefixtures("_no_proxy")
def test_a_server_whose_certificate_is_another_matter_is_not_silent() -> None:
    with listening(lambda connection: connection.sendall(b"no TLS\r\n")) as port:
        assert web_silence(f"https://127.0.0.1:{port}", 5) is None


@pytest.mark.usefixtures("_no_proxy")
def test_why_no_web_server_answers_is_told() -> None:
    assert web_silence("http://127.0.0.1:9", 5) == "Connection refused"
    assert web_silence("nothing", 5) == "unknown url type: 'nothing'"
    with listening(lambda connection: connection.sendall(b"SSH-2.0\r\n")) as port:
        assert web_silence(f"http://127.0.0.1:{port}", 5) is not None
    over = threading.Event()
    with listening(lambda _: over.wait()) as port:
        assert web_silence(f"http://127.0.0.1:{port}", 0.3)
        over.set()


@pytest.mark.usefixtures("_no_proxy")
def test_behind_a_proxy_it_is_the_proxy_that_must_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert web_silence("http://hub.invalid", 5) == "Connection refused"
    with listening(lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")) as port:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        assert web_silence("http://hub.invalid", 5) is None
