"""What a trial tunes and how fast, as table columns and in words."""

from study.config.methods import TrainedMethod
from study.config.schema import DataConfig, StudyConfig
from study.config.trial_settings import TrialSettings
from study.data.shots import ALL
from study.method.parameters import kind_names, list_kinds
from study.report.formatting import format_rate, percent
from study.report.terminal import amount

SETTING_NOTE = (
    "Head: “text” classifies by CLIP’s text features of the class names, “linear” by a trained "
    "layer. α: the interpolation coefficient, 1 keeps all of the tuned change. lr: learning rate. "
    "λ: the weight of the distillation. [a:b]: layers a to b − 1, counted from 0."
)
"""The note that explains the columns of `setting_cells`."""


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
    if not settings.method:
        return settings.subset.replace("none", "nothing")
    return f"{method_in_words(settings.method)}, lr {format_rate(settings.method.rate)}"


def method_in_words(method: TrainedMethod) -> str:
    """Return what another method trains, without its learning rate."""
    words = method.title
    for name, value in method.model_dump(exclude={"method", "lr"}).items():
        if value:
            words += f", {name.replace('_', ' ')} {format_rate(value)}"
    return words


def settings_in_words(settings: TrialSettings) -> str:
    """Return what is tuned, with the head and α if they are not CLIPFit's own."""
    has_linear_head = settings.head == "linear"
    if settings.subset == "none" and not settings.method:
        return "a linear head on CLIP as it is" if has_linear_head else "CLIP as it is"
    words = tuned_in_words(settings)
    if has_linear_head:
        words += ", linear head"
    if settings.strength != 1.0:
        words += f", α {format_rate(settings.strength)}"
    return words
