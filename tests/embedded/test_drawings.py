import pytest
import torch

from study.data.readers.glyphs import HELD_OUT_FACES, PRETRAINING_FACES
from study.embedded.drawings import ATTRIBUTES, CHARACTERS, Bank, build_bank, draw_pictures


@pytest.fixture(scope="module")
def bank() -> Bank:
    return build_bank()


def test_held_out_faces_cannot_be_learned_from() -> None:
    with pytest.raises(ValueError, match="held out"):
        build_bank([*PRETRAINING_FACES, HELD_OUT_FACES[0]])


def test_every_character_is_drawn_in_many_faces(bank: Bank) -> None:
    counts = torch.bincount(bank.characters, minlength=len(CHARACTERS))
    assert counts.min() >= 15
    assert bank.ink.amax(dim=(1, 2, 3)).min() > 0.5


def test_equal_seeds_draw_equal_pictures(bank: Bank) -> None:
    first = draw_pictures(bank, 16, torch.Generator().manual_seed(3))
    second = draw_pictures(bank, 16, torch.Generator().manual_seed(3))
    other = draw_pictures(bank, 16, torch.Generator().manual_seed(4))
    assert torch.equal(first.pixels, second.pixels)
    assert torch.equal(first.characters, second.characters)
    assert torch.equal(first.attributes, second.attributes)
    assert not torch.equal(first.pixels, other.pixels)


def test_attributes_tell_dark_from_bright_and_fine_from_pixelated(bank: Bank) -> None:
    pictures = draw_pictures(bank, 200, torch.Generator().manual_seed(0), strength=0.0)
    truth = dict(zip(ATTRIBUTES, pictures.attributes.T, strict=True))
    brightness = pictures.pixels.mean(dim=(1, 2, 3))
    assert torch.equal(truth["dark"], ~truth["bright"])
    assert brightness[truth["dark"]].mean() < brightness[truth["bright"]].mean()
    assert not (truth["bold"] & truth["thin"]).any()
    coarse = draw_pictures(bank, 50, torch.Generator().manual_seed(0), coarse_share=1.0)
    assert coarse.attributes[:, ATTRIBUTES.index("pixelated")].all()


def test_pictures_are_grey_and_of_the_size_of_the_image_tower(bank: Bank) -> None:
    pixels = draw_pictures(bank, 8, torch.Generator().manual_seed(0)).pixels
    assert pixels.shape == (8, 3, 32, 32)
    assert torch.equal(pixels[:, 0], pixels[:, 2])
