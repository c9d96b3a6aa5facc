"""What a trial tunes and how fast, as table columns and in words."""

from study.config.peer_settings import Peer
from study.config.schema import DataConfig, StudyConfig
from study.config.trial_settings import TrialSettings
from study.data.shots import ALL
from study.method.parameters import kind_names, list_kinds
from study.method.peers import PEERS
from study.method.subsets import parse
from study.process.terminal_table import amount
from study.report.formatting import format_rate, percent

SETTING_NOTE = (
    "Head: “text” classifies by CLIP’s text features of the class names, “linear” by a trained "
    "layer. α: the interpolation coefficient, 1 keeps all of the tuned change. lr: learning rate. "
    "λ: the weight of the distillation. [a:b]: layers a to b − 1, counted from 0."
)
"""The note that explains the columns of `setting_cells`."""
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
"""What the sites of an encoder are."""


def shots_in_words(data: DataConfig) -> str:
    """Return how many images of each class a study draws to learn from."""
    return "all images of each class" if data.shots == ALL else f"{data.shots} images a class"


def seeds_in_words(seeds: int, overlap: float | None) -> str:
    """Return how many seeds a test has, and the share of training images that they have in common.

    Args:
        seeds: the number of seeds.
        overlap: the mean share of training images that two seeds have in common, a fraction; None
            if there is one seed, or the share is not known.
    """
    text = amount(seeds, "seed")
    if overlap is None or overlap < 0.2:
        return text
    return f"{text}; two share {percent(overlap, 0)} % of their training images on average"


def unequal_in_words(config: StudyConfig, *, unequal: bool) -> str:
    """Return what a study does about classes of unequal size; empty if that is nothing.

    Args:
        config: the study's configuration.
        unequal: whether it trains, or may train, on classes of unequal size.
    """
    measures = []
    match config.training.balance:
        case "auto" if unequal:
            measures.append(
                "training adjusts the logits where one class has more than twice the images of "
                "another"
            )
        case "logit_adjusted":
            measures.append("training adjusts the logits to the sizes of the classes")
        case "weights":
            measures.append("training weighs images by the sizes of their classes")
    if config.search.metric == "balanced_accuracy":
        measures.append("scores count every class alike")
    return ", and ".join(measures)


def setting_header() -> list[str]:
    """Return the names of the columns of `setting_cells`."""
    return ["head", "α", *(f"{kind.short} lr" for kind in list_kinds()), "λ"]


def setting_cells(settings: TrialSettings) -> list[str]:
    """Return the head, α, the rate of each kind, and λ."""
    cells = [settings.head or "–", format_rate(settings.strength)]
    cells += [format_rate(settings.rates.get(kind)) for kind in kind_names()]
    # Where no parameter of CLIP is tuned, there is no loss to weight.
    cells.append(format_rate(settings.distill_weight if settings.rates else None))
    return cells


def tuned_in_words(settings: TrialSettings) -> str:
    """Return which parameters are tuned: a subset, or those of another method."""
    if not settings.peer:
        return settings.subset.replace("none", "nothing")
    return f"{peer_in_words(settings.peer)}, lr {format_rate(settings.peer.lr)}"


def peer_in_words(peer: Peer) -> str:
    """Return what another method trains, without its learning rate."""
    method = PEERS[peer.method]
    words = method.title
    for name, value in peer.numbers.items():
        if value:
            words += method.numbers[name].words.format(format_rate(value))
    return words


def settings_in_words(settings: TrialSettings) -> str:
    """Return what is tuned, with the head and α if they are not CLIPFit's own."""
    has_linear_head = settings.head == "linear"
    if settings.subset == "none" and not settings.peer:
        return "a linear head on CLIP as it is" if has_linear_head else "CLIP as it is"
    words = tuned_in_words(settings)
    if has_linear_head:
        words += ", linear head"
    if settings.strength != 1.0:
        words += f", α {format_rate(settings.strength)}"
    return words


def subset_in_words(subset: str) -> list[tuple[str, str]]:
    """Return the terms of a subset, each with what it is in words."""
    explained = []
    for sign, term in parse(subset).terms:
        words = f"{_site_in_words(term.site)}, {ENCODER_NAMES[term.encoder]}"
        if term.layers:
            first, stop = term.layers
            words += f", layers [{first}:{'' if stop is None else stop}], counted from 0"
        explained.append((str(term) if sign > 0 else f"without {term}", words))
    return explained


def _site_in_words(site: str) -> str:
    """Return what the site of an encoder is; the site of an extension has its name alone."""
    for ending, words in (
        ("", ""),
        (".weight", ", the weights alone"),
        (".bias", ", the biases alone"),
    ):
        part = _PARTS.get(site.removesuffix(ending))
        if site.endswith(ending) and part:
            return f"{part}{words}"
    return f"the parameters {site}"
