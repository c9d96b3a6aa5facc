import pytest
import torch

from tests.embedded.drawings import (
    Bank,
    build_bank,
    draw_pictures,
)
from tests.embedded.faces import FACES, Face
from tests.embedded.letters import FONTS


@pytest.fixture(scope="module")
def bank() -> Bank:
    return build_bank()


def test_held_out_faces_cannot_be_learned_from():
    with pytest.raises(ValueError, match="held out"):
        build_bank([*FACES, Face(FONTS[0])])


def test_equal_seeds_draw_equal_pictures(bank: Bank):
    first, second, other = (
        draw_pictures(bank, 16, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    )
    for name, values in vars(first).items():
        assert torch.equal(values, getattr(second, name))
    assert not torch.equal(first.pixels, other.pixels)
