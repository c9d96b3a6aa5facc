"""Sites and the other choices of a search in words, for readers who never saw the code."""

from collections.abc import Iterable, Iterator

from study.method.subsets import Term, parse

_ENCODERS = {"text": "text encoder", "vision": "image encoder"}
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
_HALVES = {".weight": ", without their biases", ".bias": ", only their biases"}
_CHOICES = {
    "from": "{0}.from and {0}.to are the ends of the window of blocks of the {1} in which a trial "
    "tunes its sites, counted from 0",
    "bias_lr": "bias_lr is the learning rate of biases",
    "ln_lr": "ln_lr is the learning rate of LayerNorms",
    "distill_weight": "distill_weight is λ, the weight of the distillation",
    "head": "head is what classifies images, the text or a linear layer",
    "strength": "strength is the share of the tuned change that is kept",
}


def subset_in_words(subset: str) -> tuple[tuple[str, str], ...]:
    """Return the terms of a subset, each with what it is in words."""
    terms = parse(subset).terms
    return tuple(
        (f"{'' if sign > 0 else 'without '}{term}", _term_in_words(term)) for sign, term in terms
    )


def site_in_words(site: str) -> str:
    """Return what a site or group such as ``vision.ln`` is."""
    return "".join(words for _, words in subset_in_words(site))


def sites_in_words(sites: Iterable[str]) -> str:
    """Return sites in one text, each with what it is in brackets."""
    explained = ((site, site_in_words(site).rpartition(", ")[0]) for site in sites)
    return "; ".join(f"{site} ({words})" for site, words in explained)


def choices_in_words(names: Iterable[str]) -> str:
    """Return sentences on what the names of a search's choices stand for, of those that occur.

    Args:
        names: such as ``text.from``, ``bias_lr`` or the name of a site.
    """
    return " ".join(dict.fromkeys(f"{sentence}." for sentence in _choices(sorted(names))))


def _choices(names: Iterable[str]) -> Iterator[str]:
    sites = []
    for name in names:
        encoder, _, end = name.partition(".")
        if name in _CHOICES:
            yield _CHOICES[name]
        elif encoder in _ENCODERS and end in ("from", "to"):
            yield _CHOICES["from"].format(encoder, _ENCODERS[encoder])
        elif encoder in _ENCODERS:
            sites.append(name)
    if sites:
        yield f"A name such as {sites[0]} is a site, and stands for whether a trial tunes it"


def _term_in_words(term: Term) -> str:
    site, half = term.site, ""
    if site not in _PARTS:
        site, half = next(
            (
                (site.removesuffix(end), words)
                for end, words in _HALVES.items()
                if site.removesuffix(end) in _PARTS and site.endswith(end)
            ),
            (site, ""),
        )
    part = _PARTS.get(site, f"the parameters {site}")  # a site of an extension has its name alone
    return f"{part}{half}, {_ENCODERS[term.encoder]}{_layers_in_words(term.layers)}"


def _layers_in_words(layers: tuple[int, int | None] | None) -> str:
    if layers is None:
        return ""
    start, stop = layers
    if stop is None:
        return f", the last {-start} blocks" if start < 0 else f", from block {start} on"
    if start < 0 or stop < 0:
        return f", blocks {start} to {stop} as Python counts them"
    if stop == start + 1:
        return f", block {start}, counted from 0"
    return f", blocks {start} to {stop - 1}, counted from 0"
