"""Features of untouched encoders on disk: computed cached_features, and never taken for others."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from study.backbones.backbone import Backbone
from study.backbones.load_backbone import load_backbone
from study.storage.atomic import StorageError
from study.trial import feature_cache
from study.trial.feature_cache import cached_features

WHAT = {"what": "numbers"}


class Computed:
    """What is computed, and how often it was."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> dict[str, Tensor]:
        self.times += 1
        return {"x": torch.arange(6).reshape(2, 3).T, "half": torch.ones(2, dtype=torch.bfloat16)}


@pytest.fixture(scope="module")
def backbone(tiny_backbone: Path) -> Backbone:
    return load_backbone(tiny_backbone)


@pytest.fixture
def computed() -> Computed:
    return Computed()


def test_what_is_on_disk_is_not_computed_again(
    tmp_path: Path, backbone: Backbone, computed: Computed
) -> None:
    first, again = (
        cached_features(tmp_path, WHAT, backbone, "float32", computed) for _ in range(2)
    )
    assert computed.times == 1
    for name, tensor in computed().items():
        for found in (first, again):
            assert torch.equal(found[name], tensor)
            assert found[name].dtype == tensor.dtype
            assert found[name].is_contiguous()
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]


def test_whatever_else_it_depends_on_has_a_file_of_its_own(
    tmp_path: Path, backbone: Backbone, computed: Computed
) -> None:
    cached_features(tmp_path, WHAT, backbone, "float32", computed)
    cached_features(tmp_path, {"what": "others"}, backbone, "float32", computed)
    cached_features(tmp_path, WHAT, backbone, "bfloat16", computed)
    cached_features(
        tmp_path, WHAT, replace(backbone, image_mean=(0.0, 0.0, 0.0)), "float32", computed
    )
    cached_features(tmp_path, WHAT, replace(backbone, fingerprint="0" * 16), "float32", computed)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        cached_features(tmp_path, WHAT, backbone, "float32", computed)
    finally:
        torch.set_num_threads(threads)
    assert computed.times == len(list(tmp_path.iterdir())) == 6


@pytest.mark.parametrize("damage", ["flipped", "empty", "pickle", "other"])
def test_a_damaged_file_is_told_and_made_again(
    tmp_path: Path,
    backbone: Backbone,
    computed: Computed,
    damage: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole = cached_features(tmp_path, WHAT, backbone, "float32", computed)
    (path,) = tmp_path.iterdir()
    contents = path.read_bytes()
    cached_features(tmp_path, {"what": "others"}, backbone, "float32", computed)
    (other,) = set(tmp_path.iterdir()) - {path}
    planted = b"\x80\x04cposix\nsystem\nX\x04\x00\x00\x00true\x85R."
    bad = {
        "flipped": contents[:-1] + bytes([contents[-1] ^ 1]),
        "empty": b"",
        "pickle": planted,
        "other": other.read_bytes(),
    }
    path.write_bytes(bad[damage])
    with caplog.at_level(logging.WARNING):
        again = cached_features(tmp_path, WHAT, backbone, "float32", computed)
    assert computed.times == 3
    assert f"{path} is damaged, and computed again" in caplog.text
    assert all(torch.equal(again[name], whole[name]) for name in whole)
    assert path.read_bytes() == contents


def test_of_several_that_want_it_at_once_one_computes(
    tmp_path: Path, backbone: Backbone, computed: Computed
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slowly() -> dict[str, Tensor]:
        begun.set()
        assert go_on.wait(30)
        return computed()

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(cached_features, tmp_path, WHAT, backbone, "float32", slowly)
        assert begun.wait(30)
        rest = [
            pool.submit(cached_features, tmp_path, WHAT, backbone, "float32", computed)
            for _ in range(3)
        ]
        assert not any(one.done() for one in rest)
        go_on.set()
        results = [one.result(30)["x"] for one in (first, *rest)]
    assert computed.times == 1
    assert all(torch.equal(result, results[0]) for result in results)
    assert not list(tmp_path.glob(".*")), "no lock is left behind"


def test_without_a_place_to_write_it_each_computes_for_itself(
    tmp_path: Path,
    backbone: Backbone,
    computed: Computed,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise StorageError(f"{path} cannot be used: it is read-only")

    monkeypatch.setattr(feature_cache, "write_atomically", refuse)
    monkeypatch.setattr(feature_cache.fcntl, "flock", lambda *_: (tmp_path / "missing").stat())
    for _ in range(2):
        assert cached_features(tmp_path, WHAT, backbone, "float32", computed)["x"].shape == (3, 2)
    assert computed.times == 2
    assert "read-only; other processes compute for themselves" in caplog.text


def test_a_fault_in_computing_leaves_nothing_behind(tmp_path: Path, backbone: Backbone) -> None:
    def fail() -> dict[str, Tensor]:
        raise MemoryError

    with pytest.raises(MemoryError):
        cached_features(tmp_path, WHAT, backbone, "float32", fail)
    assert list(tmp_path.iterdir()) == []
