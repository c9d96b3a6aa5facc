"""What was asked in a study, in rows of a name and a text that depend on the kind of study."""

from study.config.schema import AblationConfig
from study.data.shots import ALL, val_shots_per_class
from study.embedded import EMBEDDED
from study.method.parameters import list_kinds
from study.process.terminal_table import amount
from study.report.formatting import duration, format_rate, percent
from study.report.setting_descriptions import (
    peer_in_words,
    shots_in_words,
    unequal_in_words,
)
from study.report.site_descriptions import sites_in_words
from study.results.occupancy import Occupancy, occupancy
from study.results.study_results import Results
from study.selection.patience import read_search_end

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

_STAGES = {
    "search": "Search",
    "average": "Averages of the best",
    "ablation": "Cells",
    "confirm": "Test",
    "member": "Members of an average",
    "unknown": "Images of unknown classes",
    "refit": "Refit, which ships",
}


def configuration_rows(results: Results) -> list[tuple[str, str]]:
    """Return what was asked in a study: pairs of a name and a text.

    Args:
        results: the results of the study.
    """
    config = results.config
    protocol = results.protocol
    searches = protocol.searches(config)
    rows = _data_rows(results)
    if config.ablation:
        rows |= _ablation_rows(results, config.ablation)
    elif searches:
        rows |= _search_rows(results)
    if protocol.trains:
        precision = results.study.resolve_precision().config.training.precision
        rows["Training"] = f"{amount(config.training.epochs, 'epoch')}, {config.training.optimizer}"
        if precision != "float32":
            rows["Training"] += f", in {precision}"
    if searches:
        planned = amount(config.search.trials, "trial")
        rows["Search"] = f"{planned} planned ({config.search.sampler})"
        end = read_search_end(results.folder)
        if end:
            rows["Search"] += f"; {end.sentence}"
    if protocol.trains:
        seeds = amount(len(config.confirm.seeds), "seed")
        rows["Test"] = f"{seeds}, each with its own training images"
    return list(rows.items())


def _data_rows(results: Results) -> dict[str, str]:
    """Return the rows of every study; others may replace the question and the images."""
    config = results.config
    protocol = results.protocol
    dataset = config.data.dataset
    if config.data.targets:
        dataset += f"; tested on {', '.join(config.data.targets)} as well"
    if config.backbone.name == EMBEDDED:
        backbone = "the small CLIP that comes with this package"
    else:
        backbone = config.backbone.name
        if config.backbone.revision:
            backbone += f", revision {config.backbone.revision}"
    rows = {
        "Question": "How do these configurations do? Nothing is searched or chosen.",
        "Dataset": dataset,
        "Protocol": protocol.sentence,
    }
    if protocol.trains:
        rows["Images"] = f"{shots_in_words(config.data)} to train"
        unequal = unequal_in_words(config)
        if unequal:
            rows["Unequal classes"] = f"{unequal[0].upper()}{unequal[1:]}."
    rows["Backbone"] = backbone
    return rows


def _ablation_rows(results: Results, ablation: AblationConfig) -> dict[str, str]:
    grids = ablation.rates if isinstance(ablation.rates, dict) else {"": ablation.rates}
    lists = [
        f"{kind} {', '.join(map(format_rate, rates))}".strip() for kind, rates in grids.items()
    ]
    tried = "; ".join(lists)
    if results.protocol.validates(results.config):
        tried += (
            f": each cell at the best of them, compared {_rule_sentence(results)}. Never on test "
            "images."
        )
    else:
        tried += ", the same for every cell"
    return {
        "Question": "Which parameters matter? Each cell tunes others, beside one base.",
        "Cells": _DESIGNS[ablation.design],
        "Learning rates": tried,
    }


def _search_rows(results: Results) -> dict[str, str]:
    config = results.config
    data = config.data
    space = config.search.space
    images = f"{shots_in_words(data)} to train"
    if data.shots != ALL:
        images += f", {val_shots_per_class(data.shots, data.val_shots)} to validate"
    rates = [f"{kind.plural} {_range_in_words(space.rates[kind.name])}" for kind in list_kinds()]
    rates.append(f"λ {_range_in_words(space.distill_weight)}")
    rows = {
        "Question": "Which of CLIP’s own biases and LayerNorms should be tuned, and how fast?",
        "Images": images,
        "Choice": f"Trials were compared {_rule_sentence(results)}. Never on test images.",
        "Parameters to choose from": sites_in_words(space.sites),
        "Learning rates": ", ".join(rates),
    }
    peers = []
    trials = amount(config.search.peer_trials, "trial")
    for label, peer in config.search.peer_arms.items():
        peers.append(
            f"{label}: {peer_in_words(peer.with_rate(peer.lr[0]))}, by {peer.optimizer}, "
            f"learning rate {_range_in_words(peer.lr)}, {trials}"
        )
    if peers:
        rows["Other methods"] = "; ".join(peers)
    rows["Head"] = " or ".join(_HEADS[head] for head in space.heads)
    rows["Strength"] = _describe_strength(results.protocol.configured_strength(config))
    return rows


def _describe_strength(strength: float) -> str:
    if strength == 1.0:
        return "1: all of the tuned change is kept"
    return (
        f"{format_rate(strength)}: {percent(strength, 0)} % of the tuned change is kept; "
        "fixed beforehand. Baselines keep all of it."
    )


def stage_rows(results: Results) -> list[tuple[str, str]]:
    """Return how long each stage took: pairs of its name and a text."""
    rows = []
    for stage, name in _STAGES.items():
        trials = results.stage(stage)
        work = occupancy(trials)
        if work:
            rows.append((name, occupancy_in_words(work)))
        elif trials:
            seconds = sum(trial.seconds or 0.0 for trial in trials)
            rows.append((name, f"{amount(len(trials), 'trial')}, {duration(seconds)} of work"))
    return rows


def occupancy_in_words(work: Occupancy) -> str:
    """Return the share of time in which the slots of a stage worked."""
    slots = "one at a time" if work.slots == 1 else f"{work.slots} at a time"
    return (
        f"{amount(work.trials, 'trial')} in {duration(work.wall)}, {slots}: "
        f"{percent(work.share, 0)} % of the time was training and evaluation"
    )


def _rule_sentence(results: Results) -> str:
    """Return by what the trials were compared."""
    report: dict[str, float | None] = {}
    for trial in results.stage("search"):
        if trial.val.get("new") is not None:
            for name, value in trial.val.items():
                report[f"val_{name}"] = value or 0.0
            break
    return results.protocol.rule_from_report(results.config, report).sentence


def _range_in_words(bounds: tuple[float, float]) -> str:
    low, high = bounds
    return f"{format_rate(low)} to {format_rate(high)}"
