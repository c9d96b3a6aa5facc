"""Sites, and whatever else a search chooses, are explained to whoever never saw their names."""

import pytest

from study.backbones.architecture import ENCODERS
from study.config.search_section import SpaceConfig
from study.method.subsets import PRESETS, site_names
from study.report.site_descriptions import (
    choices_in_words,
    site_in_words,
    subset_in_words,
)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_site_and_group_has_words_of_its_own(encoder: str) -> None:
    names = [f"{encoder}.{site}" for site in site_names(encoder)]  # type: ignore[arg-type]
    words = [site_in_words(name) for name in names]
    assert len(set(words)) == len(names)
    assert not [text for text in words if "the parameters " in text]
    assert all(
        text.endswith("text encoder" if encoder == "text" else "image encoder") for text in words
    )


def test_each_term_of_a_subset_is_explained() -> None:
    assert subset_in_words(PRESETS["clipfit"]) == (
        ("text.mlp.fc2.bias", "the biases of the feed-forward parts’ output, text encoder"),
        ("vision.ln", "all LayerNorms, image encoder"),
    )
    taken = subset_in_words("text.bias - text.attn.bias")
    assert taken[1] == ("without text.attn.bias", "all biases of the attention, text encoder")


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ("[0:2]", ", blocks 0 to 1, counted from 0"),
        ("[3]", ", block 3, counted from 0"),
        ("[2:]", ", from block 2 on"),
        ("[-2:]", ", the last 2 blocks"),
        ("[0:-1]", ", blocks 0 to -1 as Python counts them"),
    ],
)
def test_layers_are_explained(layers: str, words: str) -> None:
    ((term, text),) = subset_in_words(f"vision.ln1{layers}")
    assert term.startswith("vision.ln1[")
    assert text == f"the LayerNorms before the attention, image encoder{words}"


def test_half_a_layernorm_is_not_called_a_whole_one() -> None:
    assert "without their biases" in site_in_words("text.ln.weight")
    assert "only their biases" in site_in_words("text.ln.bias")


def test_only_the_choices_that_there_are_are_explained() -> None:
    every = ["text.to", "text.from", "vision.to", "bias_lr", "ln_lr", "distill_weight", "head"]
    text = choices_in_words([*every, "strength", *SpaceConfig().sites])
    assert text.count("text.from and text.to are the ends of the window") == 1
    assert text.count("vision.from and vision.to") == 1
    assert text.count(" is a site") == 1
    for name in ("λ", "strength", "rate of biases", "rate of LayerNorms", "a linear layer"):
        assert name in text
    assert choices_in_words([]) == ""
    assert choices_in_words(["something else"]) == ""
