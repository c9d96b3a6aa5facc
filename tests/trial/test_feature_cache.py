"""Features of untouched encoders on disk: computed once, and never taken for others."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from study.backbones.backbone import Backbone
from study.method.delta import to_checked_bytes
from study.method.model import FewShotClassifier
from study.storage.atomic import StorageError
from study.trial import feature_cache
from study.trial.feature_cache import Cache, cached_features
from tests.damage import cut, flip

WHAT = {"what": "numbers"}


@pytest.fixture
def classifier(backbone: Backbone) -> FewShotClassifier:
    return FewShotClassifier(backbone)


@pytest.fixture
def computed() -> Mock:
    """Compute features; a mock, which knows how often it was asked."""
    half = torch.ones(2, dtype=torch.bfloat16)
    return Mock(return_value={"x": torch.arange(6).reshape(2, 3).T, "half": half})


def test_what_is_on_disk_is_not_computed_again(
    tmp_path: Path, classifier: FewShotClassifier, computed: Mock
):
    first, again = (cached_features(tmp_path, WHAT, classifier, computed) for _ in range(2))
    assert computed.call_count == 1
    for name, tensor in computed.return_value.items():
        for found in (first, again):
            assert torch.equal(found[name], tensor)
            assert found[name].dtype == tensor.dtype
            assert found[name].is_contiguous()
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]


def test_whatever_features_depend_on_has_a_file_of_its_own(
    tmp_path: Path, classifier: FewShotClassifier, computed: Mock, monkeypatch: pytest.MonkeyPatch
):
    backbone = classifier.backbone
    own = [
        (WHAT, classifier),
        ({"what": "others"}, classifier),
        (WHAT, FewShotClassifier(backbone, precision="bfloat16")),
        (WHAT, FewShotClassifier(replace(backbone, image_mean=(0.0, 0.0, 0.0)))),
        (WHAT, FewShotClassifier(replace(backbone, fingerprint="0" * 16))),
    ]
    for what, other in own:
        cached_features(tmp_path, what, other, computed)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 99)
    cached_features(tmp_path, WHAT, classifier, computed)
    assert computed.call_count == len(list(tmp_path.iterdir())) == 6


def become_another(path: Path):
    """Put a sound file of other features in its place."""
    path.write_bytes(to_checked_bytes({"x": torch.ones(1)}, {"what": "others"}))


@pytest.mark.parametrize("damage", [flip, cut, become_another])
def test_a_damaged_file_is_reported_and_made_again(
    tmp_path: Path,
    classifier: FewShotClassifier,
    computed: Mock,
    damage: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
):
    cached_features(tmp_path, WHAT, classifier, computed)
    (path,) = tmp_path.iterdir()
    contents = path.read_bytes()
    damage(path)
    cached_features(tmp_path, WHAT, classifier, computed)
    assert computed.call_count == 2
    assert f"{path} is damaged, so its features are computed again" in caplog.text
    assert path.read_bytes() == contents


def test_without_a_place_to_write_it_each_computes_for_itself(
    tmp_path: Path,
    classifier: FewShotClassifier,
    computed: Mock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    refuse = Mock(side_effect=StorageError("it is read-only"))
    monkeypatch.setattr(feature_cache, "write_atomically", refuse)
    monkeypatch.setattr(feature_cache.fcntl, "flock", Mock(side_effect=OSError))
    for _ in range(2):
        assert cached_features(tmp_path, WHAT, classifier, computed)["x"].shape == (3, 2)
    assert computed.call_count == 2
    assert "read-only; other processes compute these features again" in caplog.text


def test_a_process_keeps_the_longest_what_was_used_last():
    cache, compute = Cache(capacity=4), Mock(return_value={"x": torch.zeros(2)})
    computed = []
    for key in "abacab":
        cache.get((key,), compute)
        computed.append(compute.call_count)
    assert computed == [1, 2, 2, 3, 3, 4]
