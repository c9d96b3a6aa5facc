"""The checkpoint of random weights has the sizes of a published one, and is written once."""

from pathlib import Path

import pytest

from study.backbones.description import EMBEDDED, backbone_path, read_architecture
from study.backbones.random_checkpoint import write_random_checkpoint


@pytest.mark.long
def test_the_shapes_are_those_of_vit_b16(tmp_path: Path):
    embedded = Path(backbone_path(EMBEDDED))
    for _ in range(2):
        folder = write_random_checkpoint(tmp_path / "random", embedded, patch=16)
    shapes = read_architecture(folder)
    assert (shapes.text.width, shapes.vision.width, shapes.vision.tokens) == (512, 768, 197)
    assert [path.name for path in tmp_path.iterdir()] == ["random"]
