"""The two stages that train: search, and confirm. Each begins or goes on from the ledger."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from study.config.schema import StudyConfig
from study.errors import DataError, InterruptedStudyError
from study.method.checkpoint import Architecture
from study.method.subsets import kinds, parse
from study.search.callback import Observer
from study.search.driver import make_scheduler, run_trials
from study.search.journal import DamagedJournalError, set_aside
from study.search.optuna_arm import Arm, Outcome, Recorded, open_arm
from study.search.recording import close_trial, drop_unproven_reports
from study.search.searcher import StudySearcher, outcome_of, proposal_of
from study.search.space import OpenSpace, Proposal, RateSpace, weighs
from study.selection.candidates import TUNED, Candidate
from study.storage.ledger import End, StudyFolder
from study.trial import SPLIT_HASH, Stage, TrialConfig, TrialData
from study.trial.config_hash import compute_config_hash

OPEN = "search"
JOURNAL = "optuna.journal"
logger = logging.getLogger(__name__)

TakeOver = Callable[[Sequence[TrialConfig]], Collection[str]]
"""Fills the folders of those trials whose results are known; gives their ids."""


@dataclass(frozen=True)
class Budget:
    """How many trials each line of the search gets."""

    baselines: int
    tuned: int
    """Of CLIPFit's own subset: learning rates and λ."""
    open: int
    """Over subsets, learning rates and λ."""


def budget(config: StudyConfig) -> Budget:
    """Split a search's trials; CLIPFit's own search gets its share of all of them."""
    baselines = len(config.search.baselines)
    tuned = math.ceil(config.search.tuned_share * config.search.trials)
    return Budget(baselines, tuned, config.search.trials - baselines - tuned)


def run_search(
    config: StudyConfig,
    folder: StudyFolder,
    architecture: Architecture,
    data: TrialData,
    observers: Sequence[Observer],
) -> None:
    """Train baselines, CLIPFit's own search and the open search, or what is left of them."""
    _close_complete(folder, "search", observers)
    past = _Past.read(folder, "search")
    past.refuse_other_data({config.seed: data})
    make = TrialMaker(config, architecture, {config.seed: data})
    baselines = [make.baseline(label, n) for n, label in enumerate(config.search.baselines)]
    searcher = StudySearcher(
        folder,
        [*past.unfinished, *(c for c in baselines if c.trial_id not in past)],
        arms=_open_arms(config, folder, architecture, past),
        make_config=make.proposed,
        ended={c.trial_id: (c, _outcome(end, reports)) for c, end, reports in past.ended},
        next_number=max([len(baselines) - 1, *(c.number for c in past.all)]) + 1,
    )
    run_trials(
        config,
        folder,
        searcher,
        data={f"search/{config.seed}": data},
        scheduler=make_scheduler(
            config.search.asha,
            config.training.epochs,
            [(c, reports) for c, end, reports in past.ended if end.status != "failed"],
        ),
        count=config.search.trials - len(past.ended),
        observers=observers,
    )
    _check_ended(folder, "search")


def run_confirm(
    config: StudyConfig,
    folder: StudyFolder,
    architecture: Architecture,
    candidates: Iterable[Candidate],
    data: Mapping[int, TrialData],
    observers: Sequence[Observer],
) -> None:
    """Train every candidate on each seed's shots and test it; ``data`` is by seed."""
    make = TrialMaker(config, architecture, data)
    wanted = [
        make.confirmation(candidate, seed, seed_index * 1000 + index)
        for seed_index, seed in enumerate(data)
        for index, candidate in enumerate(candidates)
        if candidate.same_as is None
    ]
    run_queue(config, folder, "confirm", wanted, data, observers)


def run_queue(
    config: StudyConfig,
    folder: StudyFolder,
    stage: Stage,
    wanted: Iterable[TrialConfig],
    data: Mapping[int, TrialData],
    observers: Sequence[Observer],
    take_over: TakeOver | None = None,
) -> None:
    """Train given trials of a stage to their last epoch, but those that have ended before.

    Args:
        config: of the study.
        folder: of the study.
        stage: of all of them.
        wanted: the trials, in order.
        data: what they read, by seed.
        observers: told of every trial.
        take_over: is offered the trials that have not begun.
    """
    _close_complete(folder, stage, observers)
    past = _Past.read(folder, stage)
    past.refuse_other_data(data)
    wanted = list(wanted)
    if take_over is not None:
        taken = take_over([c for c in wanted if c.trial_id not in past])
        past = _Past.read(folder, stage)
        for trial_config, end, reports in past.ended:
            if trial_config.trial_id in taken:
                _tell_end(observers, trial_config, end, reports)
    queue = [*past.unfinished, *(c for c in wanted if c.trial_id not in past)]
    run_trials(
        config,
        folder,
        StudySearcher(folder, queue),
        data={f"{stage}/{seed}": seed_data for seed, seed_data in data.items()},
        scheduler=make_scheduler(None, config.training.epochs),
        count=len(queue),
        observers=observers,
    )
    _check_ended(folder, stage)


@dataclass(frozen=True)
class _Past:
    """What the ledger holds of a stage."""

    ended: list[tuple[TrialConfig, End, list[dict[str, float]]]]
    unfinished: list[TrialConfig]

    @classmethod
    def read(cls, folder: StudyFolder, stage: Stage) -> _Past:
        past = cls([], [])
        for trial in folder.trials():
            if trial.config["stage"] != stage:
                continue
            config, end = TrialConfig.model_validate(trial.config), trial.end
            if end is None:
                past.unfinished.append(config)
            else:
                past.ended.append((config, end, trial.reports))
        return past

    def refuse_other_data(self, data: Mapping[int, TrialData]) -> None:
        """Raise where trials learned from, or were judged on, other images than there are now."""
        for config in self.all:
            now = (
                data[config.seed].digest[:SPLIT_HASH] if config.seed in data else config.split_hash
            )
            if now != config.split_hash:
                raise DataError(
                    f"{config.trial_id} was given other images or classes than its data has now: "
                    f"shots/tasks-{config.split_hash}.jsonl and tasks-{now}.jsonl of the study "
                    "tell which; put the dataset, or its split file, back as it was"
                )

    @property
    def all(self) -> list[TrialConfig]:
        return [*(config for config, _, _ in self.ended), *self.unfinished]

    def __contains__(self, trial_id: str) -> bool:
        return any(config.trial_id == trial_id for config in self.all)


@dataclass(frozen=True)
class TrialMaker:
    """Completes configurations of trials."""

    config: StudyConfig
    architecture: Architecture
    data: Mapping[int, TrialData]
    """By seed."""

    def baseline(self, label: str, number: int) -> TrialConfig:
        """Give a baseline's trial of the search."""
        given = self.config.search.baselines[label]
        proposal = Proposal(given.subset, given.bias_lr, given.ln_lr, given.distill_weight)
        return self.make("search", "baseline", label, number, proposal, self.config.seed)

    def proposed(
        self, proposal: Proposal, arm: str, number: int, optuna_number: int
    ) -> TrialConfig:
        """Give a proposal's trial of the search."""
        config = self.make("search", arm, f"trial {number}", number, proposal, self.config.seed)
        return config.model_copy(update={"optuna_number": optuna_number})

    def confirmation(self, candidate: Candidate, seed: int, number: int) -> TrialConfig:
        """Give a candidate's trial on a seed's shots."""
        proposal = Proposal(
            candidate.subset, candidate.bias_lr, candidate.ln_lr, candidate.distill_weight
        )
        return self.make("confirm", candidate.label, candidate.label, number, proposal, seed)

    def make(
        self, stage: Stage, arm: str, label: str, number: int, proposal: Proposal, seed: int
    ) -> TrialConfig:
        """Complete a proposal."""
        subset = parse(proposal.subset)
        leaves = subset.resolve(self.architecture.depths)
        rates = kinds(leaves)
        regularizer = self.config.training.regularizer
        name = f"{label}-seed{seed}" if stage == "confirm" else f"{number:04d}"
        trial = TrialConfig(
            trial_id=f"{stage}-{name}",
            stage=stage,
            arm=arm,
            label=label,
            number=number,
            seed=seed,
            subset=str(subset),
            subset_key=subset.key(self.architecture.depths),
            trainable=self.architecture.count(leaves),
            bias_lr=proposal.bias_lr if "bias" in rates else None,
            ln_lr=proposal.ln_lr if "ln" in rates else None,
            # Where it has no effect two values are one training.
            distill_weight=proposal.distill_weight if weighs(leaves, regularizer) else 0.0,
            epochs=self.config.training.epochs if leaves else 0,
            split_hash=self.data[seed].digest[:SPLIT_HASH],
            training=self.config.training,
        )
        same = compute_config_hash(trial, self.data[seed], self.architecture.checkpoint)
        return trial.model_copy(update={"config_hash": same})


def _open_arms(
    config: StudyConfig, folder: StudyFolder, architecture: Architecture, past: _Past
) -> list[Arm]:
    """Open both Optuna studies and tell them what the ledger knows and they may have missed."""
    space, depths, split = config.search.space, architecture.depths, budget(config)
    regularizer = config.training.regularizer
    clipfit = config.search.baselines["clipfit"].subset
    spaces: dict[str, tuple[int, OpenSpace | RateSpace]] = {
        TUNED: (split.tuned, RateSpace(space, depths, clipfit, regularizer)),
        OPEN: (split.open, OpenSpace(space, depths, regularizer)),
    }
    recorded = {name: _recorded(folder, past, name) for name in spaces}

    def open_all() -> list[Arm]:
        return [
            open_arm(
                folder.path / JOURNAL,
                name,
                budget=trials,
                space=arm_space,
                sampler=config.search.sampler,
                seed=config.seed,
            )
            for name, (trials, arm_space) in spaces.items()
        ]

    try:
        arms = open_all()
        if any(arm.begun and not arm.agrees_with(recorded[arm.name]) for arm in arms):
            raise DamagedJournalError("it differs from the trials' own files")
    except DamagedJournalError as error:
        set_aside(folder.path / JOURNAL, str(error))
        arms = open_all()
    for arm in arms:
        begun = arm.begun
        arm.remember(recorded[arm.name])
        if config.search.warm_start is not None and not begun:
            first = arm.try_first(folder.path.with_name(config.search.warm_start) / JOURNAL)
            logger.info(
                "%s: %d configurations of %s first", arm.name, first, config.search.warm_start
            )
        arm.started = len([c for c in past.all if c.arm == arm.name])
        for trial in recorded[arm.name]:
            for epoch, score in trial.scores.items():
                arm.report(trial.number, epoch, score)
        for trial_config, end, reports in past.ended:
            outcome = _outcome(end, reports)
            if trial_config.arm == "baseline":
                arm.learn(proposal_of(trial_config), outcome, trial_config.label)
            elif trial_config.arm == arm.name and trial_config.optuna_number is not None:
                arm.tell(trial_config.optuna_number, outcome)
        arm.fail_orphans({trial.number for trial in recorded[arm.name]})
    return arms


def _outcome(end: End, reports: Sequence[Mapping[str, float]]) -> Outcome:
    return outcome_of(end, reports[-1].get("val_score") if reports else None)


def _recorded(folder: StudyFolder, past: _Past, arm: str) -> list[Recorded]:
    return [
        Recorded(
            config.optuna_number,
            proposal_of(config),
            {r["epoch"]: r["val_score"] for r in folder.trial(config.trial_id).reports},
        )
        for config in past.all
        if config.arm == arm and config.optuna_number is not None
    ]


def _close_complete(folder: StudyFolder, stage: Stage, observers: Sequence[Observer]) -> None:
    """Close trials of which an earlier driver died between the last report and the closing."""
    for trial in folder.trials():
        config = trial.config
        if config["stage"] != stage or trial.end is not None:
            continue
        drop_unproven_reports(trial)
        reports = trial.reports
        if reports and reports[-1]["epoch"] >= config["epochs"]:
            seconds = sum(report["seconds"] for report in reports)
            end = End("finished", reports[-1]["epoch"], seconds)
            close_trial(trial, end)
            _tell_end(observers, TrialConfig.model_validate(config), end, reports)


def _tell_end(
    observers: Sequence[Observer],
    config: TrialConfig,
    end: End,
    reports: Sequence[Mapping[str, float]],
) -> None:
    for observer in observers:
        observer.trial_ended(config, end, reports[-1].get("val_score"))


def _check_ended(folder: StudyFolder, stage: Stage) -> None:
    left = _Past.read(folder, stage).unfinished
    if left:
        raise InterruptedStudyError(
            f"the study was interrupted with {len(left)} trials of its {stage} unfinished; "
            f"go on by --resume {folder.name}"
        )
