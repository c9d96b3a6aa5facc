"""The checkpoint of random weights has the sizes of a published one, and is written once."""

from pathlib import Path

import pytest

from study.backbones.description import EMBEDDED, backbone_path, read_architecture
from study.backbones.random_checkpoint import write_random_checkpoint


@pytest.mark.long
def test_the_shapes_are_those_of_vit_b16(tmp_path: Path):
    embedded = Path(backbone_path(EMBEDDED))
    folder = write_random_checkpoint(tmp_path / "random", embedded, patch=16)
    shapes = read_architecture(folder)
    assert (shapes.text.depth, shapes.text.width, shapes.dim) == (12, 512, 512)
    assert (shapes.vision.depth, shapes.vision.width, shapes.vision.tokens) == (12, 768, 197)
    assert shapes.image_size == 224
    assert (folder / "tokenizer.json").read_bytes() == (embedded / "tokenizer.json").read_bytes()
    written = (folder / "model.safetensors").stat().st_mtime_ns
    write_random_checkpoint(folder, embedded, patch=16)
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    assert [path.name for path in tmp_path.iterdir()] == ["random"]
