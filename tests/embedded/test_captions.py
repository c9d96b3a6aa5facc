import numpy as np
import torch

from study.data.prompts import prompts, templates_of
from study.data.readers.glyphs import GLYPH_CLASS_NAMES
from study.embedded.captions import Caption, all_captions, draw_captions, match
from study.embedded.drawings import ATTRIBUTES, CHARACTERS, Pictures


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
