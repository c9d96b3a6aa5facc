"""Sites, and whatever else a search chooses, are explained to whoever never saw their names."""

from study.backbones.architecture import ENCODERS
from study.config.search_section import SpaceConfig
from study.method.subsets import PRESETS, site_names
from study.report.site_descriptions import choices_in_words, site_in_words, subset_in_words
from tests.report.conftest import AsKept


def test_every_site_and_group_has_words_of_its_own(as_kept: AsKept):
    words = {}
    for encoder in ENCODERS:
        for site in site_names(encoder):
            words[f"{encoder}.{site}"] = site_in_words(f"{encoder}.{site}")
    assert len(set(words.values())) == len(words)
    as_kept("sites", "\n".join(f"{name}: {text}" for name, text in words.items()))


def test_each_term_of_a_subset_and_its_layers_are_explained(as_kept: AsKept):
    lines = []
    for subset in (
        PRESETS["clipfit"],
        "text.bias - text.attn.bias",
        *(f"vision.ln1{layers}" for layers in ("[0:2]", "[3]", "[2:]", "[-2:]", "[0:-1]")),
    ):
        lines += [f"{term}: {text}" for term, text in subset_in_words(subset)]
    as_kept("terms-of-subsets", "\n".join(lines))


def test_only_the_choices_that_there_are_are_explained(as_kept: AsKept):
    every = ["text.to", "text.from", "vision.to", "bias_lr", "ln_lr", "distill_weight"]
    as_kept("choices", choices_in_words([*every, *SpaceConfig().sites]))
    assert choices_in_words(["something else"]) == choices_in_words([]) == ""
