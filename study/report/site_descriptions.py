"""What sites and the other choices of a search are, for readers who never saw the code."""

from collections.abc import Iterable

from study.method.subsets import parse
from study.process.table_files import read_table

ENCODER_NAMES = {"text": "text encoder", "vision": "image encoder"}
_TABLE = read_table(__file__)
_PARTS: dict[str, str] = _TABLE["parts"]
_HALVES: dict[str, str] = _TABLE["halves"]
_CHOICES: dict[str, str] = _TABLE["choices"]


def subset_in_words(subset: str) -> list[tuple[str, str]]:
    """Return the terms of a subset, each with what it is in words."""
    explained = []
    for sign, term in parse(subset).terms:
        name = str(term) if sign > 0 else f"without {term}"
        layers = _describe_layers(term.layers)
        words = f"{_describe_part(term.site)}, {ENCODER_NAMES[term.encoder]}{layers}"
        explained.append((name, words))
    return explained


def site_in_words(site: str) -> str:
    """Return what a site or a group of sites, such as ``vision.ln``, is."""
    return "".join(words for _, words in subset_in_words(site))


def sites_in_words(sites: Iterable[str]) -> str:
    """Return sites in one text, each with what it is in brackets."""
    explained = []
    for site in sites:
        words, _, _encoder = site_in_words(site).rpartition(", ")
        explained.append(f"{site} ({words})")
    return "; ".join(explained)


def choices_in_words(names: Iterable[str]) -> str:
    """Return sentences that explain the names of a search's choices; unknown names are left out.

    Args:
        names: such as ``text.from``, ``bias_lr`` or the name of a site.
    """
    sentences = []
    sites = []
    for name in sorted(names):
        encoder, _, end = name.partition(".")
        if name in _CHOICES:
            sentences.append(_CHOICES[name])
        elif encoder in ENCODER_NAMES and end in ("from", "to"):
            sentences.append(_CHOICES["from"].format(encoder, ENCODER_NAMES[encoder]))
        elif encoder in ENCODER_NAMES:
            sites.append(name)
    if sites:
        example = sites[0]
        sentences.append(
            f"A name such as {example} is a site, and stands for whether a trial tunes it"
        )
    return " ".join(f"{sentence}." for sentence in dict.fromkeys(sentences))


def _describe_part(site: str) -> str:
    """Return what the site of an encoder is; the site of an extension has its name alone."""
    if site in _PARTS:
        return _PARTS[site]
    for ending, words in _HALVES.items():
        whole = site.removesuffix(ending)
        if site.endswith(ending) and whole in _PARTS:
            return f"{_PARTS[whole]}{words}"
    return f"the parameters {site}"


def _describe_layers(layers: tuple[int, int | None] | None) -> str:
    if layers is None:
        return ""
    start, stop = layers
    if stop is None:
        return f", the last {-start} blocks" if start < 0 else f", from block {start} on"
    if start < 0 or stop < 0:
        return f", blocks [{start}:{stop}] as Python slices them"
    if stop == start + 1:
        return f", block {start}, counted from 0"
    return f", blocks {start} to {stop - 1}, counted from 0"
