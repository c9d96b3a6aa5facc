"""The settings of a study, and what a trial tunes and how fast, in words and table columns."""

from study.config.schema import DataConfig, StudyConfig
from study.config.trial_settings import TrialSettings
from study.data.shots import ALL, val_shots_per_class
from study.method.parameters import kind_names, list_kinds
from study.report.formatting import format_rate, percent
from study.report.terminal import amount
from study.results.study_result import StudyResult

SETTING_NOTE = (
    "Head: “text” classifies by the text features of the class names, “linear” by a trained linear "
    "layer. α: interpolation between the original model (0) and the tuned one (1). lr: learning "
    "rate. λ: weight of the distillation loss. [a:b]: layers a to b − 1, counted from 0."
)
"""The note that explains the columns of `setting_cells`."""
SHOWN_OVERLAP = 0.2
"""The smallest share of common training images of two seeds that is stated."""


def shots_in_words(data: DataConfig) -> str:
    """Return how many images of each class a study draws to learn from."""
    return "all images of each class" if data.shots == ALL else f"{data.shots} images per class"


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
                "training adjusts logits if one class has more than twice the images of another"
            )
        case "logit_adjusted":
            measures.append("training adjusts logits to class sizes")
        case "weights":
            measures.append("training weights images by class size")
    if config.search.metric == "balanced_accuracy":
        measures.append("scores weight all classes equally")
    return ", and ".join(measures)


def setting_header() -> list[str]:
    """Return the names of the columns of `setting_cells`."""
    return ["head", "α", *(f"{kind.short} lr" for kind in list_kinds()), "λ"]


def setting_cells(settings: TrialSettings) -> list[str]:
    """Return the head, α, the rate of each kind, and λ."""
    cells = [settings.head or "–", format_rate(settings.alpha)]
    cells += [format_rate(settings.rates.get(kind)) for kind in kind_names()]
    # Where no parameter of CLIP is tuned, there is no loss to weight.
    cells.append(format_rate(settings.distill_weight if settings.rates else None))
    return cells


def tuned_in_words(settings: TrialSettings) -> str:
    """Return which parameters are tuned: a subset, or those of another method."""
    if not settings.method:
        return settings.subset.replace("none", "nothing")
    words = [settings.method.title]
    for name, value in settings.method.model_dump(exclude={"method", "lr"}).items():
        if value:
            words.append(f"{name.replace('_', ' ')} {format_rate(value)}")
    return ", ".join([*words, f"lr {format_rate(settings.method.rate)}"])


def settings_in_words(settings: TrialSettings) -> str:
    """Return what is tuned, with the head and α if they are not CLIPFit's own."""
    has_linear_head = settings.head == "linear"
    if settings.subset == "none" and not settings.method:
        return "a linear head on untuned CLIP" if has_linear_head else "untuned CLIP"
    words = tuned_in_words(settings)
    if has_linear_head:
        words += ", linear head"
    if settings.alpha != 1.0:
        words += f", α {format_rate(settings.alpha)}"
    return words


def configuration_rows(result: StudyResult) -> list[tuple[str, str]]:
    """Return the settings of a study: pairs of a name and a text."""
    config, protocol = result.config, result.protocol
    data, searches = config.data, protocol.searches(config)
    rows = {"Dataset": ", ".join([data.dataset, *data.targets]), "Protocol": protocol.sentence}
    if protocol.trains:
        rows["Images"] = f"{shots_in_words(data)} to train"
        if searches and data.shots != ALL:
            rows["Images"] += f", {val_shots_per_class(data.shots, data.val_shots)} to validate"
    if config.ablation:
        rows["Cells"] = f"{config.ablation.design} of {config.ablation.base}"
    if searches or (config.ablation and protocol.validates(config)):
        rows["Selection"] = f"Trials were compared {_rule_sentence(result)}, never on test images."
    if searches and not config.ablation:
        rows["Search"] = f"{amount(config.search.trials, 'trial')} ({config.search.sampler})"
    if protocol.trains:
        precision = result.study.resolve_precision().config.training.precision
        epochs = amount(config.training.epochs, "epoch")
        rows["Training"] = f"{epochs}, {config.training.optimizer}, {precision}"
        rows["Test"] = amount(len(config.test.seeds), "seed")
        overlap = result.training_overlap
        if overlap is not None and overlap >= SHOWN_OVERLAP:
            share = f"on average, two share {percent(overlap, 0)} % of their training images"
            rows["Test"] += f"; {share}"
    return [*rows.items()]


def _rule_sentence(result: StudyResult) -> str:
    """Return by what the trials were compared."""
    of_new_classes = [t.val for t in result.stage("search") if t.val.get("new") is not None]
    scores = next(iter(of_new_classes), {})
    report = {f"val_{name}": value for name, value in scores.items()}
    return result.protocol.rule(result.config, report).sentence
