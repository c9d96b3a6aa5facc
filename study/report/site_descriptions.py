"""What sites and the other choices of a search are, for readers who never saw the code."""

from collections.abc import Iterable

from study.method.subsets import parse

ENCODER_NAMES = {"text": "text encoder", "vision": "image encoder"}
_PARTS = {
    "attn.q.bias": "the biases of the attention’s queries",
    "attn.v.bias": "the biases of the attention’s values",
    "attn.out.bias": "the biases of the attention’s output",
    "attn.bias": "all biases of the attention",
    "mlp.fc1.bias": "the biases of the feed-forward parts’ first layer",
    "mlp.fc2.bias": "the biases of the feed-forward parts’ output",
    "mlp.bias": "all biases of the feed-forward parts",
    "pool.q.bias": "the biases of the pooling attention’s query",
    "pool.v.bias": "the biases of the pooling attention’s values",
    "pool.out.bias": "the biases of the pooling attention’s output",
    "pool.fc1.bias": "the biases of the pool’s feed-forward part, first layer",
    "pool.fc2.bias": "the biases of the pool’s feed-forward part, output",
    "pool.bias": "all biases of the pool",
    "proj.bias": "the bias of the last layer",
    "bias": "all biases outside LayerNorms",
    "ln1": "the LayerNorms before the attention",
    "ln2": "the LayerNorms before the feed-forward parts",
    "ln_pre": "the LayerNorm before the first block",
    "ln_post": "the LayerNorm after the last block",
    "ln_final": "the LayerNorm after the last block",
    "pool.ln": "the LayerNorm of the pool",
    "ln": "all LayerNorms",
}
_HALVES = {".weight": ", the weights alone", ".bias": ", the biases alone"}
_CHOICES = {
    "from": "{0}.from and {0}.to are the ends of the window of blocks of the {1} in which a trial "
    "tunes its sites, counted from 0",
    "bias_lr": "bias_lr is the learning rate of biases",
    "ln_lr": "ln_lr is the learning rate of LayerNorms",
    "distill_weight": "distill_weight is λ, the weight of the distillation",
    "head": "head is what classifies images, the text or a linear layer",
    "strength": "strength is the share of the tuned change that is kept",
}


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
