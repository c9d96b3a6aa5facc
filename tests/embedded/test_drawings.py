import numpy as np
import pytest
import torch
from embedded.drawings import (
    ATTRIBUTES,
    CHARACTERS,
    Bank,
    Caption,
    Pictures,
    all_captions,
    build_bank,
    draw_captions,
    draw_pictures,
    match,
)

from study.data.prompts import prompts, templates_of
from study.data.readers.glyphs import GLYPH_CLASS_NAMES, HELD_OUT_FACES, PRETRAINING_FACES


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


def pictures(characters: str, attributes: tuple[str, ...] = ()) -> Pictures:
    truth = torch.tensor([name in attributes for name in ATTRIBUTES])
    return Pictures(
        pixels=torch.zeros(len(characters), 3, 32, 32),
        characters=torch.tensor([CHARACTERS.index(c) for c in characters]),
        attributes=truth.repeat(len(characters), 1),
    )


def test_a_caption_matches_its_characters_alone() -> None:
    captions = [Caption("digit seven", "7"), Caption("letter b", "Bb")]
    assert match(pictures("7Bb2"), captions).tolist() == [
        [True, False],
        [False, True],
        [False, True],
        [False, False],
    ]


def test_a_claimed_attribute_must_be_true_as_well() -> None:
    captions = [Caption("bold digit seven", "7", "bold"), Caption("thin digit seven", "7", "thin")]
    assert match(pictures("7", ("bold",)), captions).tolist() == [[True, False]]


def test_every_character_has_a_caption_in_every_draw() -> None:
    drawn = draw_captions(pictures("7Ba"), np.random.default_rng(0), with_attribute=5)
    assert len(drawn) == len(CHARACTERS) + 5
    assert all(c in caption.characters for c, caption in zip(CHARACTERS, drawn, strict=False))
    assert sum(caption.attribute is not None for caption in drawn) == 5


def test_the_prompts_of_both_packaged_datasets_are_among_the_captions() -> None:
    (template,) = templates_of("glyphs")
    asked = {text for group in prompts(GLYPH_CLASS_NAMES, [template]) for text in group}
    assert asked <= set(all_captions())
    assert templates_of("digits") == (template,)
