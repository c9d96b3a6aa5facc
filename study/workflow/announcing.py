"""What a study prints before it runs: what it is, what it plans, and what it works on."""

from collections.abc import Sequence

from rich.console import Console

from study.config.labels import LINEAR
from study.config.schema import AblationConfig
from study.config.search_section import SearchConfig
from study.process.terminal_table import amount
from study.search.ablation_search import rate_grids
from study.search.stages import budget
from study.selection.candidates import possible_variants
from study.trial.study import Study
from study.workflow.plan_summary import tell
from study.workflow.start_warnings import caution

PEERS = {LINEAR: "a linear classifier on frozen CLIP", "full": "full fine-tuning", "lora": "LoRA"}
"""What methods other than CLIPFit are called, by the labels that they usually have."""


def announce(study: Study, console: Console) -> None:
    """Print what a study is, its plan, what it works on, and warnings."""
    config, protocol = study.config, study.protocol()
    shots = ""
    if protocol.trains:
        shots = f"{amount(config.data.shots, 'shot')} (labelled images of each class), "
    title = (
        f"[bold]{study.folder.name}[/]: {config.protocol} on {config.data.dataset}, {shots}"
        f"backbone {config.backbone.name}; results in {study.folder.path}"
    )
    console.print(title, highlight=False)
    console.print(plan(study), highlight=False, markup=False)
    tell(study, console)
    caution([study], console)


def plan(study: Study) -> str:
    """Return which trials a study will run, and how many seeds test their choice."""
    config, protocol = study.config, study.protocol()
    seeds = amount(len(protocol.shot_seeds(config)), "seed")
    if seeds != "1 seed":
        seeds += " (repeated trainings)"
    if config.ablation is not None:
        trials = _plan_of_ablation(study, config.ablation)
        return f"{trials}. Each cell is then tested with {seeds}."
    if not protocol.searches(config):
        tested = amount(len(protocol.tested_as_given(config)), "configuration")
        return f"no search: {tested}, tested with {seeds}."
    return (
        f"{_plan_of_search(study)}. What is chosen and the baselines are then tested with {seeds}."
    )


def _plan_of_search(study: Study) -> str:
    config = study.config
    baselines, tuned, searched = budget(config)
    limit = ""
    if config.search.minutes is not None:
        limit = f" in at most {amount(config.search.minutes, 'minute')}"
    parts = [
        f"{amount(config.search.trials, 'trial')}{limit}: {amount(baselines, 'baseline')}, {tuned} "
        "with CLIPFit's own parameters that try learning rates and λ (how firmly text features are "
        f"held at CLIP's), {searched} that choose the parameters to tune as well"
    ]
    parts += [f"plus {peer}" for peer in _peers(config.search)]
    most = len(possible_variants(config, study.protocol().strength_of(config)))
    if most:
        parts.append(
            f"plus up to {amount(most, 'trial')} of baselines with another head (what turns "
            "features into classes) or strength (the share of the tuned change that is kept)"
        )
    return "; ".join(parts)


def _peers(search: SearchConfig) -> Sequence[str]:
    """Return how many trials each method other than CLIPFit has."""
    searched = search.peer_arms
    peers = []
    for label in search.peers:
        trials = search.peer_trials if label in searched else 1
        peers.append(f"{amount(trials, 'trial')} of {PEERS.get(label, label)}")
    return peers


def _plan_of_ablation(study: Study, ablation: AblationConfig) -> str:
    sizes = [grid.size for grid in rate_grids(study).values()]
    rates = amount(max(sizes), "learning rate")
    if isinstance(ablation.rates, dict):
        rates = f"{amount(max(sizes), 'combination')} of learning rates"
    trials = ""
    if study.protocol().validates(study.config):
        trials = f"; {amount(sum(sizes), 'trial')} to choose their rates"
        if ablation.extend:
            trials += ", more where the best rate is the lowest or the highest"
    return (
        f"an ablation (design {ablation.design}): {amount(len(sizes), 'cell')} that tune different "
        f"parts of a subset, with {rates} each{trials}"
    )
