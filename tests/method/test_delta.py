import hashlib
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import save, save_file
from torch import Tensor
from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

from study.backbones.backbone import Backbone, load_backbone
from study.errors import DeltaError
from study.method.delta import (
    HEAD_CLASSES,
    HEAD_ROWS,
    KIND,
    DeltaInfo,
    apply_delta,
    delta_contents,
    from_checked_bytes,
    head_of,
    head_tensors,
    load_delta,
    load_tuned,
    save_delta,
    save_head,
    save_merged,
    to_checked_bytes,
)
from study.method.head import Head
from study.method.model import FewShotClassifier
from study.method.subsets import parse
from study.storage.file_format import FORMAT

INFO = DeltaInfo(
    backbone="tiny",
    revision=None,
    fingerprint="0123456789abcdef",
    subset="text.mlp.fc2.bias + vision.ln",
    class_names=('5" disc', "it's", "naïve 🐈‍⬛", "a\nb", "\\", "\ud800"),
    templates=("a photo of a {}.", "«{}» 'quoted'"),
)


@pytest.fixture
def tuned(backbone: Backbone) -> FewShotClassifier:
    """A classifier moved away from its backbone."""
    classifier = FewShotClassifier(backbone, parse("clipfit"))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in classifier.tuned:
            shape = parameter.parameter.shape
            parameter.parameter.add_(0.1 * torch.randn(shape, generator=generator))
    return classifier


@pytest.fixture
def tensors(tuned: FewShotClassifier) -> dict[str, Tensor]:
    return {t.name: t.parameter.detach() for t in tuned.tuned}


@pytest.fixture
def path(tensors: dict[str, Tensor], backbone: Backbone, tmp_path: Path) -> Path:
    file = tmp_path / "delta.safetensors"
    save_delta(file, tensors, replace(INFO, fingerprint=backbone.fingerprint))
    return file


TENSORS = {
    "a": torch.tensor([[0.5, -0.0], [1e-45, 3e38]]),
    "b": torch.arange(5, dtype=torch.uint8),
    "c": torch.tensor(7.0, dtype=torch.bfloat16),
    "d": torch.rand(2, 3, generator=torch.Generator().manual_seed(0)).T,
}
METADATA = {"epoch": "3", "name": "naïve 🐈\n"}


@pytest.mark.parametrize(
    "info", [INFO, replace(INFO, revision="main", class_names=(), pixel_range=(-0.5, 4095))]
)
def test_tensors_and_metadata_come_back_to_the_bit(info: DeltaInfo, tmp_path: Path) -> None:
    file = tmp_path / "delta.safetensors"
    save_delta(file, TENSORS, info)
    tensors, read = load_delta(file)
    assert read == info
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert (tensors[name].dtype, tensors[name].shape) == (tensor.dtype, tensor.shape)
        bits = tensor.contiguous().reshape(-1).view(torch.uint8)
        assert torch.equal(tensors[name].reshape(-1).view(torch.uint8), bits)


def test_a_delta_makes_a_fresh_backbone_the_tuned_model(
    path: Path,
    tuned: FewShotClassifier,
    backbone: Backbone,
    pixel_values: Tensor,
    input_ids: Tensor,
) -> None:
    fresh = FewShotClassifier(backbone, parse("clipfit"))
    apply_delta(fresh.clip, load_delta(path)[0])
    for ours, theirs in zip(fresh.clip.parameters(), tuned.clip.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert all(t.parameter.requires_grad for t in fresh.tuned)


class Planted:
    """Unpickling it leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.trace,)


def rewrite(path: Path, info: Any, file_format: str = f"{KIND}{FORMAT}") -> None:
    text = info if isinstance(info, str) else json.dumps(info)
    metadata = {"format": file_format, "info": text}
    path.write_bytes(to_checked_bytes({"x": torch.zeros(1)}, metadata))


def become_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


FIELDS = asdict(INFO)
METADATA_FAULTS = yaml.safe_load(Path(__file__).with_name("delta_metadata.yaml").read_text())


def flip(path: Path, what: bytes) -> None:
    """Change one bit of a byte, so that the file can still be read."""
    contents = bytearray(path.read_bytes())
    contents[contents.index(what)] ^= 1
    path.write_bytes(contents)


FAULTS: list[tuple[str, Callable[[Path], object], str]] = [
    ("missing", lambda path: path.unlink(), "cannot be read"),
    ("a folder", become_folder, "cannot be read"),
    ("empty", lambda path: path.write_bytes(b""), "cannot be read"),
    ("cut", lambda path: path.write_bytes(path.read_bytes()[:-7]), "cannot be read"),
    ("a flipped number", lambda path: flip(path, path.read_bytes()[-300:]), "not those that were"),
    ("no metadata", lambda path: save_file({"x": torch.zeros(1)}, path), "is no delta.*''"),
    ("foreign", lambda path: rewrite(path, FIELDS, "pt"), f"is no delta.*'pt'.*'{KIND}{FORMAT}'"),
    ("a list", lambda path: rewrite(path, []), "damaged metadata.*fingerprint"),
    ("no fields", lambda path: rewrite(path, {}), "damaged metadata.*fingerprint"),
]


@pytest.mark.parametrize(("damage", "message"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_a_file_that_is_no_sound_delta_is_refused_by_name(
    path: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(path)
    with pytest.raises(DeltaError, match=f"(?s){path}.*{message}"):
        load_delta(path)


@pytest.mark.parametrize("case", METADATA_FAULTS, ids=str)
def test_metadata_that_are_not_sound_are_refused(path: Path, case: dict[str, Any]) -> None:
    rewrite(path, FIELDS | case["changes"])
    with pytest.raises(DeltaError, match=f"{path}.*damaged metadata") as refused:
        load_delta(path)
    assert case["told"] in str(refused.value)


@pytest.mark.parametrize("write", [torch.save, lambda x, path: path.write_bytes(pickle.dumps(x))])
def test_a_planted_pickle_is_refused_and_never_run(
    path: Path, tmp_path: Path, write: Callable[[Any, Path], object]
) -> None:
    write({"x": Planted(tmp_path / "trace")}, path)
    with pytest.raises(DeltaError, match="cannot be read"):
        load_delta(path)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("vision_model.no_such.bias", torch.zeros(32), r"vision_model\.no_such\.bias.*not have"),
        ("vision_model.post_layernorm.bias", torch.zeros(31), r"\(31,\).*\(32,\)"),
        ("vision_model.post_layernorm.bias", torch.zeros(1), r"\(1,\).*\(32,\)"),
        ("vision_model.post_layernorm.bias", torch.full((32,), torch.nan), "not finite"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_and_nothing_is_written(
    backbone: Backbone, tensors: dict[str, Tensor], name: str, tensor: Tensor, message: str
) -> None:
    before = {n: p.clone() for n, p in backbone.clip.named_parameters()}
    with pytest.raises(DeltaError, match=message):
        apply_delta(backbone.clip, {**tensors, name: tensor})
    assert all(torch.equal(p, before[n]) for n, p in backbone.clip.named_parameters())


NAMES = ("cat", "dog", "bird")


@pytest.fixture
def head() -> Head:
    """A head of two of three classes, by their places among the names."""
    rows = torch.randn(2, 24, generator=torch.Generator().manual_seed(3))
    return Head(torch.nn.functional.normalize(rows, dim=-1), (2, 0))


@pytest.fixture
def headed(
    path: Path, tensors: dict[str, Tensor], head: Head, checkpoint: Path, backbone: Backbone
) -> Path:
    """A delta with a head."""
    info = replace(
        INFO, backbone=str(checkpoint), fingerprint=backbone.fingerprint, class_names=NAMES
    )
    save_delta(path, {**tensors, **head_tensors(head)}, info)
    return path


def test_a_head_comes_back_with_the_names_of_its_classes(
    headed: Path, head: Head, tuned: FewShotClassifier, path: Path
) -> None:
    loaded, found, info = load_tuned(headed)
    assert found is not None
    assert torch.equal(found.rows, head.rows)
    assert (found.classes, info.class_names) == (("bird", "cat"), NAMES)
    for ours, theirs in zip(loaded.clip.parameters(), tuned.clip.parameters(), strict=True):
        assert torch.equal(ours, theirs), "the model itself has no head"


def test_a_delta_without_a_head_is_the_file_that_it_was_before_there_were_heads(
    path: Path,
) -> None:
    tensors = {name: TENSORS[name] for name in "abc"}
    assert hashlib.sha256(delta_contents({**tensors, **head_tensors(None)}, INFO)).hexdigest() == (
        "dc73bd8f2f1fe636a8e7b73c4b68d40bbda71598a6396a26575607cf874497a1"
    )
    assert head_of(*load_delta(path)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {HEAD_CLASSES: torch.tensor([0, 3])},
        {HEAD_CLASSES: torch.tensor([0])},
        {HEAD_CLASSES: torch.tensor([0.0, 1.0])},
        {HEAD_CLASSES: None},
        {HEAD_ROWS: None},
        {HEAD_ROWS: torch.full((2, 24), torch.nan)},
    ],
    ids=str,
)
def test_a_head_that_is_no_sound_one_is_refused(
    headed: Path, changes: dict[str, Tensor | None]
) -> None:
    tensors, info = load_delta(headed)
    changed = {name: t for name, t in {**tensors, **changes}.items() if t is not None}
    with pytest.raises(DeltaError, match="the delta's head"):
        head_of(changed, info)


def test_a_merged_folder_has_the_head_beside_the_model(
    headed: Path, head: Head, tmp_path: Path
) -> None:
    kept = head_of(*load_delta(headed))
    assert kept is not None
    save_head(tmp_path, kept)
    with safe_open(tmp_path / "head.safetensors", "pt") as opened:
        assert torch.equal(opened.get_tensor("rows"), head.rows)
        assert json.loads(opened.metadata()["class_names"]) == ["bird", "cat"]


def test_a_merged_folder_is_an_ordinary_checkpoint_with_the_tuned_models_logits(
    checkpoint: Path,
    path: Path,
    tuned: FewShotClassifier,
    pixel_values: Tensor,
    tmp_path: Path,
) -> None:
    out = tmp_path / "merged"
    save_merged(out, load_tuned(path, str(checkpoint))[0])
    clip = CLIPModel.from_pretrained(out).eval()
    words = AutoTokenizer.from_pretrained(out)(
        ["a red cat", "dog"], padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        merged = clip(input_ids=words["input_ids"], pixel_values=pixel_values).logits_per_image
        text = tuned.encode_text(words["input_ids"])
        expected = tuned.logits(tuned.encode_image(pixel_values), text)
    torch.testing.assert_close(merged, expected, atol=1e-5, rtol=0)
    assert list(CLIPImageProcessor.from_pretrained(out).image_std) == [0.25, 0.25, 0.25]
    assert load_backbone(out).fingerprint != load_backbone(checkpoint).fingerprint
    assert {p.name for p in out.iterdir()} == {p.name for p in checkpoint.iterdir()}


def test_a_delta_of_another_backbone_is_refused_naming_both(
    checkpoint: Path, path: Path, tensors: dict[str, Tensor], backbone: Backbone
) -> None:
    save_delta(path, tensors, replace(INFO, backbone="other"))
    expected = f"'other'.*{INFO.fingerprint}.*'{checkpoint}'.*{backbone.fingerprint}"
    with pytest.raises(DeltaError, match=expected):
        load_tuned(path, str(checkpoint))


def test_reading_deltas_does_not_import_transformers() -> None:
    code = "import sys, study.method.delta; sys.exit('transformers' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_tensors_the_metadata_come_back() -> None:
    assert from_checked_bytes(to_checked_bytes({}, METADATA)) == ({}, METADATA)


def test_equal_contents_are_equal_bytes_in_whatever_order_they_are_given() -> None:
    expected = to_checked_bytes(TENSORS, METADATA)
    for _ in range(8):  # the library orders metadata by chance
        again = to_checked_bytes(dict(reversed(TENSORS.items())), dict(reversed(METADATA.items())))
        assert again == expected


def test_no_byte_of_it_can_change_unseen() -> None:
    contents = to_checked_bytes({"a": torch.tensor([1.5, 2.5])}, {"epoch": "3"})
    kept = from_checked_bytes(contents)
    for place in range(len(contents)):
        changed = bytearray(contents)
        changed[place] ^= 1
        try:
            tensors, metadata = from_checked_bytes(bytes(changed))
        except (SafetensorError, ValueError):
            continue
        # What pads the header means nothing.
        assert (list(tensors), metadata) == (list(kept[0]), kept[1]), place
        assert torch.equal(tensors["a"], kept[0]["a"]), place


@pytest.mark.parametrize("metadata", [METADATA, {"sha256": "0" * 64}])
def test_a_file_without_its_hash_is_refused(metadata: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="not those that were written"):
        from_checked_bytes(save({"b": TENSORS["b"]}, metadata))
