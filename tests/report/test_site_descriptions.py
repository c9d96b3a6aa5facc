"""Sites, and whatever else a search chooses, are explained to whoever never saw their names."""

from study.backbones.architecture import ENCODERS
from study.method.subsets import site_names
from study.report.site_descriptions import choices_in_words, site_in_words, subset_in_words


def test_every_site_and_group_has_words_of_its_own():
    names = [f"{encoder}.{site}" for encoder in ENCODERS for site in site_names(encoder)]
    words = {site_in_words(name) for name in names}
    assert len(words) == len(names)
    assert "" not in words


def test_each_term_of_a_subset_and_its_layers_are_explained():
    terms = dict(subset_in_words("text.bias - text.attn.bias + vision.ln1[2:]"))
    assert [*terms] == ["text.bias", "without text.attn.bias", "vision.ln1[2:]"]
    windows = [f"vision.ln1{layers}" for layers in ("", "[0:2]", "[3]", "[2:]", "[-2:]", "[0:-1]")]
    assert len({words for window in windows for _, words in subset_in_words(window)}) == 6


def test_only_the_choices_that_there_are_are_explained():
    explained = choices_in_words(["bias_lr", "text.ln2"])
    assert "bias_lr is " in explained
    assert "text.ln2 is a site" in explained
    assert "text.from" not in explained
    assert choices_in_words(["something else"]) == choices_in_words([]) == ""
