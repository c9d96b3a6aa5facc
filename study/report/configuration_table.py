"""What was asked in a study, a row each: which rows there are depends on the kind of study."""

from study.data.shots import val_shots_per_class
from study.embedded import EMBEDDED
from study.method.parameters import list_kinds
from study.process.terminal_table import amount
from study.report.formatting import format_rate, peer_in_words, percent
from study.report.site_descriptions import sites_in_words
from study.results.occupancy import Occupancy, occupancy
from study.results.study_results import Results
from study.trial.study import Study

_HEADS = {
    "text": "the text features of the classes",
    "linear": "a linear layer that begins there, trained on the features of the images",
}
_DESIGNS = {
    "only_one": "each site alone, and the base",
    "leave_one_out": "the base, and the base without each of its sites",
    "layers": "the base, and the base in windows of layers",
    "grid": "given subsets, and the base",
    "pairs": "each site alone, each two sites together, zero-shot, and the base",
}


def configuration_rows(results: Results) -> list[tuple[str, str]]:
    """Return what was done: names and texts.

    Args:
        results: the results of the study.
    """
    study = results.study
    config, protocol = study.config, study.protocol()
    data, search, space, ablation = config.data, config.search, config.search.space, config.ablation
    trains, searches = protocol.trains, protocol.searches(config)
    strength = protocol.strength_of(config)
    images = f"{data.shots} a class to train"
    precision = study.resolve_precision().config.training.precision
    rows = {
        "Question": "How do these configurations do? Nothing is searched or chosen.",
        "Dataset": data.dataset
        + (f"; tested on {', '.join(data.targets)} as well" if data.targets else ""),
        "Protocol": protocol.sentence,
        "Images": images if trains else "",
        "Backbone": "the small CLIP that comes with this package"
        if config.backbone.name == EMBEDDED
        else ", revision ".join(filter(None, (config.backbone.name, config.backbone.revision))),
    }
    if ablation is not None:
        lists = ablation.rates if isinstance(ablation.rates, dict) else {"": ablation.rates}
        tried = "; ".join(
            f"{kind} {', '.join(map(format_rate, own))}".strip() for kind, own in lists.items()
        )
        rows |= {
            "Question": "Which parameters matter? Each cell tunes others, beside one base.",
            "Cells": _DESIGNS[ablation.design],
            "Learning rates": f"{tried}: each cell at the best of them, compared "
            f"{_rule(study, results)}. Never on test images."
            if protocol.validates(config)
            else f"{tried}, the same for every cell",
        }
    elif searches:
        rates = [f"{kind.plural} {_range(space.rates[kind.name])}" for kind in list_kinds()]
        rows |= {
            "Question": "Which of CLIP’s own biases and LayerNorms should be tuned, and how fast?",
            "Images": f"{images}, {val_shots_per_class(data.shots, data.val_shots)} a class to "
            "validate",
            "Choice": f"Trials were compared {_rule(study, results)}. Never on test images.",
            "Parameters to choose from": sites_in_words(space.sites),
            "Learning rates": ", ".join([*rates, f"λ {_range(space.distill_weight)}"]),
            "Other methods": "; ".join(
                f"{label}: {peer_in_words(peer.at(peer.lr[0]))}, by {peer.optimizer}, "
                f"learning rate {_range(peer.lr)}, {search.peer_trials} trials"
                for label, peer in search.peer_arms.items()
            ),
            "Head": " or ".join(_HEADS[head] for head in space.heads),
            "Strength": "1: all of the tuned change is kept"
            if strength == 1.0
            else f"{format_rate(strength)}: {percent(strength, 0)} % of the tuned change is kept; "
            "fixed beforehand. Baselines keep all of it.",
        }
    rows |= {
        "Training": f"{config.training.epochs} epochs, {config.training.optimizer}"
        + f", in {precision}" * (precision != "float32")
        if trains
        else "",
        "Search": f"{search.trials} trials planned ({search.sampler})" if searches else "",
        "Time": _time(results) if searches else "",
        "Test": f"{len(config.confirm.seeds)} seeds, each with its own training images"
        if trains
        else "",
    }
    return [(name, text) for name, text in rows.items() if text]


def _time(results: Results) -> str:
    spent = occupancy(results.trials)
    return "" if spent is None else occupancy_in_words(spent)


def occupancy_in_words(spent: Occupancy) -> str:
    """Return a sentence on the share of time that the slots of a stage worked."""
    slots = "one at a time" if spent.slots == 1 else f"{spent.slots} at a time"
    return (
        f"{amount(spent.trials, 'trial')} in {spent.wall:.0f} s, {slots}: {spent.share:.0%} of "
        "the time was training and evaluation. Before the first epoch, Ray and its workers "
        "started."
    )


def _rule(study: Study, results: Results) -> str:
    scores = next((t.val for t in results.trials if t.val.get("new") is not None), {})
    return (
        study.protocol()
        .rule_used(study.config, {f"val_{name}": value or 0.0 for name, value in scores.items()})
        .sentence
    )


def _range(bounds: tuple[float, float]) -> str:
    return f"{format_rate(bounds[0])} to {format_rate(bounds[1])}"
