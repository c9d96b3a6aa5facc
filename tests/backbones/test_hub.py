"""A checkpoint of the hub without a network is reported at once, with the way to bring it over."""

import threading
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from study.backbones import hub
from study.backbones.description import read_architecture
from study.backbones.hub import must_read_locally
from study.backbones.load_backbone import load_backbone
from study.errors import BackboneError
from tests.openclips import write_open_clip
from tests.ports import listening
from tests.siglips import save_siglip

NAME = "owner/clip"
COMMIT = "0123456789" * 4


@pytest.fixture(autouse=True)
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a checkpoint in an empty cache, and a hub that nobody listens for."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(cache))
    repository = cache / "models--owner--clip"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    folder = repository / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("read", [read_architecture, load_backbone])
def test_without_a_network_one_message_says_how_to_bring_a_checkpoint_over(
    read: Callable[..., object],
):
    with pytest.raises(
        BackboneError, match=f"^backbone '{NAME}' is neither a folder nor"
    ) as refused:
        read(NAME, revision="abc")
    assert f"`hf download {NAME} --revision abc --local-dir DIR`" in str(refused.value)
    assert "http://127.0.0.1:9 does not respond ([Errno 111] Connection ref" in str(refused.value)


def test_what_answers_in_the_place_of_the_hub_is_reported_like_no_answer(
    monkeypatch: pytest.MonkeyPatch,
):
    """Such as the page of a network that one has to log into."""
    monkeypatch.setattr(hub, "call_within", lambda *_: None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # not waited for
    silence = OSError("no files")
    silence.__cause__ = LocalEntryNotFoundError("none")
    monkeypatch.setattr("transformers.CLIPConfig.get_config_dict", Mock(side_effect=silence))
    with pytest.raises(BackboneError, match="To download it elsewhere, run"):
        read_architecture(NAME)


def test_a_hub_that_answers_anything_is_asked_and_one_that_is_silent_or_forbidden_is_not(
    monkeypatch: pytest.MonkeyPatch,
):
    endpoint = "huggingface_hub.constants.ENDPOINT"
    answer = b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"
    with listening(lambda connection: connection.sendall(answer)) as port:
        monkeypatch.setattr(endpoint, f"http://127.0.0.1:{port}")
        assert not must_read_locally(NAME, ["config.json"], None)
    monkeypatch.setattr(hub, "ANSWERS_WITHIN", 0.3)
    over = threading.Event()
    with listening(lambda _: over.wait()) as port:
        monkeypatch.setattr(endpoint, f"http://127.0.0.1:{port}")
        with pytest.raises(BackboneError, match=rf"127\.0\.0\.1:{port} does not respond"):
            must_read_locally(NAME, ["config.json"], None)
        over.set()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BackboneError, match="HF_HUB_OFFLINE"):
        must_read_locally(NAME, ["config.json"], None)


@pytest.mark.parametrize(
    "write, family",
    [(save_siglip, "siglip"), (lambda folder: write_open_clip(folder, {}), "clip")],
    ids=["siglip", "open_clip"],
)
def test_the_other_families_load_from_the_cache_of_the_hub(
    write: Callable[[Path], object], family: str, snapshot: Path
):
    write(snapshot)
    assert read_architecture(NAME).checkpoint == f"{NAME}@{COMMIT}"
    backbone = load_backbone(NAME)
    assert backbone.family == family
    assert backbone.fingerprint == load_backbone(snapshot).fingerprint
