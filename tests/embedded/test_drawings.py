import pytest
import torch

from study.data.prompts import prompts, templates_of
from study.data.readers.glyphs import FONTS, GLYPH_CLASS_NAMES
from tests.embedded.drawings import (
    Bank,
    all_captions,
    build_bank,
    draw_pictures,
)
from tests.embedded.faces import FACES, Face, draw, drawable


@pytest.fixture(scope="module")
def bank() -> Bank:
    return build_bank()


def test_held_out_faces_cannot_be_learned_from() -> None:
    with pytest.raises(ValueError, match="held out"):
        build_bank([*FACES, Face(FONTS[0])])


def test_every_listed_pair_of_face_and_character_is_drawn_in_its_own_shape() -> None:
    pairs = drawable("AQez7", FACES)
    shapes = {(face, draw(face, character, 24).tobytes()) for face, character in pairs}
    assert len(shapes) == len(pairs)


def test_a_character_that_an_alphabet_lacks_is_refused() -> None:
    face = next(face for face in FACES if face.digit is None)
    with pytest.raises(ValueError, match="no '7'"):
        draw(face, "7", 24)
    assert not drawable("7", [face])


def test_equal_seeds_draw_equal_pictures(bank: Bank) -> None:
    first, second, other = (
        draw_pictures(bank, 16, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    )
    for name, values in vars(first).items():
        assert torch.equal(values, getattr(second, name))
    assert not torch.equal(first.pixels, other.pixels)


def test_the_prompts_of_both_packaged_datasets_are_among_the_captions() -> None:
    (template,) = templates_of("glyphs")
    asked = {text for group in prompts(GLYPH_CLASS_NAMES, [template]) for text in group}
    assert asked <= set(all_captions())
    assert templates_of("digits") == (template,)
