import pytest
import torch
from embedded.drawings import (
    Bank,
    all_captions,
    build_bank,
    draw_pictures,
)

from study.data.prompts import prompts, templates_of
from study.data.readers.glyphs import GLYPH_CLASS_NAMES, HELD_OUT_FACES, PRETRAINING_FACES


@pytest.fixture(scope="module")
def bank() -> Bank:
    return build_bank()


def test_held_out_faces_cannot_be_learned_from() -> None:
    with pytest.raises(ValueError, match="held out"):
        build_bank([*PRETRAINING_FACES, HELD_OUT_FACES[0]])


def test_equal_seeds_draw_equal_pictures(bank: Bank) -> None:
    first = draw_pictures(bank, 16, torch.Generator().manual_seed(3))
    second = draw_pictures(bank, 16, torch.Generator().manual_seed(3))
    other = draw_pictures(bank, 16, torch.Generator().manual_seed(4))
    assert torch.equal(first.pixels, second.pixels)
    assert torch.equal(first.characters, second.characters)
    assert torch.equal(first.attributes, second.attributes)
    assert not torch.equal(first.pixels, other.pixels)


def test_the_prompts_of_both_packaged_datasets_are_among_the_captions() -> None:
    (template,) = templates_of("glyphs")
    asked = {text for group in prompts(GLYPH_CLASS_NAMES, [template]) for text in group}
    assert asked <= set(all_captions())
    assert templates_of("digits") == (template,)
