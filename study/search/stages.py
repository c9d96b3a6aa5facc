"""The stages that train: search, confirm, ablation. Each continues from what the ledger holds."""

import logging
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from study.config.schema import TUNED, StudyConfig
from study.config.settings import Settings
from study.errors import DataError, InterruptedStudyError, StudyError
from study.method.parameters import kind_names
from study.method.subsets import Subset, parse
from study.search.ablation_cells import ablation_cells
from study.search.driver import make_scheduler, run_trials
from study.search.optuna_arm import Arm, DamagedJournalError, Outcome, Recorded, open_arm, set_aside
from study.search.recording import close_trial, drop_unproven_reports
from study.search.samplers import Sampler, sampler_named
from study.search.searcher import Observer, StudySearcher, notify, outcome_of
from study.search.space import OpenSpace, RateSpace
from study.selection.candidates import finished_trials
from study.storage.ledger import End, StudyFolder
from study.trial import SPLIT_HASH, Stage, TrialConfig, TrialData
from study.trial.config_hash import compute_config_hash
from study.trial.study import Candidate, Study

JOURNAL = "optuna.journal"
logger = logging.getLogger(__name__)

TakeOver = Callable[[Sequence[TrialConfig]], Collection[str]]
"""A function that fills the folders of the trials with known results and returns their ids."""


@dataclass(frozen=True)
class Budget:
    """The number of trials of each part of the search."""

    baselines: int
    tuned: int
    """The trials that tune the learning rates and λ of CLIPFit's own subset."""
    open: int
    """The trials that search over subsets, learning rates and λ."""


def budget(config: StudyConfig) -> Budget:
    """Return how the trials are split; ``tuned_share`` is a fraction of all trials."""
    baselines = len(config.search.baselines)
    tuned = math.ceil(config.search.tuned_share * config.search.trials)
    return Budget(baselines, tuned, config.search.trials - baselines - tuned)


def run_search(
    study: Study, data: TrialData, observers: Sequence[Observer], sampler: Sampler | None = None
) -> None:
    """Train the baselines, CLIPFit's own search and the open search, or what is left of them.

    Args:
        study: the study.
        data: the data of the search's trials.
        observers: the listeners that are notified of every trial.
        sampler: the sampler, if it is not found by the name in the configuration.

    Raises:
        DataError: earlier trials used other images or classes.
        InterruptedStudyError: the study was interrupted before all trials ended.
    """
    config, folder = study.config, study.folder
    _close_complete(folder, "search", observers)
    past = _Past.read(folder, "search")
    past.refuse_other_data({config.seed: data})
    if len(past.all) > config.search.trials:
        raise DataError(
            f"{folder.config_path} plans {config.search.trials} trials of search, and "
            f"{len(past.all)} are there: it is older than the study's last extension; set "
            "search.trials as extensions.json says, by --extend"
        )
    maker = TrialMaker(study, {config.seed: data})
    baselines = [
        maker.make("search", "baseline", label, number, settings, config.seed)
        for number, (label, settings) in enumerate(config.search.baselines.items())
    ]
    searcher = StudySearcher(
        folder,
        [*past.unfinished, *(c for c in baselines if c.trial_id not in past)],
        arms=_open_arms(study, past, sampler),
        make_config=maker.proposed,
        ended={c.trial_id: (c, _outcome(end, reports)) for c, end, reports in past.ended},
        next_number=max([len(baselines) - 1, *(c.number for c in past.all)]) + 1,
    )
    run_trials(
        study,
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
    study: Study,
    candidates: Iterable[Candidate],
    data: Mapping[int, TrialData],
    observers: Sequence[Observer],
) -> None:
    """Train every candidate on each seed's shots and test it.

    Args:
        study: the study.
        candidates: the candidates; one that equals another is skipped.
        data: the data of the confirmation, by seed.
        observers: the listeners that are notified of every trial.
    """
    maker = TrialMaker(study, data)
    wanted = [
        maker.make("confirm", c.label, c.label, seed_index * 1000 + index, c.settings, seed)
        for seed_index, seed in enumerate(data)
        for index, c in enumerate(candidates)
        if c.same_as is None
    ]
    run_queue(study, "confirm", wanted, data, observers)


def run_queue(
    study: Study,
    stage: Stage,
    wanted: Iterable[TrialConfig],
    data: Mapping[int, TrialData],
    observers: Sequence[Observer],
    take_over: TakeOver | None = None,
) -> None:
    """Train the given trials of a stage to their last epoch, without those that have ended.

    Args:
        study: the study.
        stage: the stage of the trials.
        wanted: the trials, in order.
        data: the data of the trials, by seed.
        observers: the listeners that are notified of every trial.
        take_over: a function that may supply results for the trials that have not started.

    Raises:
        DataError: earlier trials used other images or classes.
        InterruptedStudyError: the study was interrupted before all trials ended.
    """
    folder = study.folder
    _close_complete(folder, stage, observers)
    past = _Past.read(folder, stage)
    past.refuse_other_data(data)
    wanted = list(wanted)
    if take_over is not None:
        taken = take_over([c for c in wanted if c.trial_id not in past])
        past = _Past.read(folder, stage)
        for trial_config, end, reports in past.ended:
            if trial_config.trial_id in taken:
                _notify_end(observers, trial_config, end, reports)
    queue = [*past.unfinished, *(c for c in wanted if c.trial_id not in past)]
    run_trials(
        study,
        StudySearcher(folder, queue),
        data={f"{stage}/{seed}": seed_data for seed, seed_data in data.items()},
        scheduler=make_scheduler(None, study.config.training.epochs),
        count=len(queue),
        observers=observers,
    )
    _check_ended(folder, stage)


@dataclass(frozen=True)
class _Past:
    """The trials of a stage that the ledger holds."""

    ended: list[tuple[TrialConfig, End, list[dict[str, float]]]]
    unfinished: list[TrialConfig]

    @classmethod
    def read(cls, folder: StudyFolder, stage: Stage) -> "_Past":
        past = cls([], [])
        for trial in folder.trials():
            if trial.read_config()["stage"] != stage:
                continue
            config, end = TrialConfig.model_validate(trial.read_config()), trial.read_end()
            if end is None:
                past.unfinished.append(config)
            else:
                past.ended.append((config, end, trial.read_reports()))
        return past

    def refuse_other_data(self, data: Mapping[int, TrialData]) -> None:
        """Check that earlier trials used the same images and classes as there are now.

        Raises:
            DataError: a trial trained or was evaluated on other images or classes.
        """
        for config in self.all:
            now = (
                data[config.seed].digest[:SPLIT_HASH] if config.seed in data else config.split_hash
            )
            if now != config.split_hash:
                raise DataError(
                    f"{config.trial_id} was given other images or classes than its data has now: "
                    f"shots/tasks-{config.split_hash}.jsonl and tasks-{now}.jsonl of the study "
                    "list both; put the dataset, or its split file, back as it was"
                )

    @property
    def all(self) -> list[TrialConfig]:
        return [*(config for config, _, _ in self.ended), *self.unfinished]

    def __contains__(self, trial_id: str) -> bool:
        return any(config.trial_id == trial_id for config in self.all)


@dataclass(frozen=True)
class TrialMaker:
    """A factory of trial configurations."""

    study: Study
    data: Mapping[int, TrialData]
    """The data of the trials, by seed."""

    def proposed(
        self, settings: Settings, arm: str, number: int, optuna_number: int
    ) -> TrialConfig:
        """Return the search trial of an arm's proposal."""
        seed = self.study.config.seed
        config = self.make("search", arm, f"trial {number}", number, settings, seed)
        return config.model_copy(update={"optuna_number": optuna_number})

    def make(
        self, stage: Stage, arm: str, label: str, number: int, settings: Settings, seed: int
    ) -> TrialConfig:
        """Return the trial of some settings, less those without an effect, with its config hash."""
        training, architecture = self.study.config.training, self.study.architecture()
        subset = parse(settings.subset)
        leaves = subset.resolve(architecture.depths)
        name = f"{label}-seed{seed}" if stage == "confirm" else f"{number:04d}"
        trial = TrialConfig(
            trial_id=f"{stage}-{name}",
            stage=stage,
            arm=arm,
            label=label,
            number=number,
            seed=seed,
            settings=settings.effective(leaves, training.regularizer),
            subset_key=subset.key(architecture.depths),
            trainable=architecture.count(leaves),
            epochs=training.epochs if leaves else 0,
            split_hash=self.data[seed].digest[:SPLIT_HASH],
            training=training,
        )
        digest = compute_config_hash(trial, self.data[seed], architecture.checkpoint)
        return trial.model_copy(update={"config_hash": digest})


def _open_arms(study: Study, past: _Past, given: Sampler | None) -> list[Arm]:
    """Open both arms and add to their Optuna studies what only the ledger holds."""
    config, folder, split = study.config, study.folder, budget(study.config)
    space, depths = config.search.space, study.architecture().depths
    sampler = sampler_named(config.search.sampler, given)
    regularizer = config.training.regularizer
    clipfit = config.search.baselines["clipfit"].subset
    spaces: dict[str, tuple[int, OpenSpace | RateSpace]] = {
        TUNED: (split.tuned, RateSpace(space, depths, clipfit, regularizer)),
        "search": (split.open, OpenSpace(space, depths, regularizer)),
    }
    recorded = {name: _recorded(folder, past, name) for name in spaces}

    def open_all() -> list[Arm]:
        return [
            open_arm(
                folder.path / JOURNAL,
                name,
                budget=trials,
                space=arm_space,
                sampler=sampler,
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
        was_begun = arm.begun
        arm.remember(recorded[arm.name])
        if config.search.warm_start is not None and not was_begun:
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
                arm.learn(trial_config.settings, outcome, trial_config.label)
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
            config.settings,
            {r["epoch"]: r["val_score"] for r in folder.trial(config.trial_id).read_reports()},
        )
        for config in past.all
        if config.arm == arm and config.optuna_number is not None
    ]


def _close_complete(folder: StudyFolder, stage: Stage, observers: Sequence[Observer]) -> None:
    """Close trials with all their reports, which an earlier driver left open when it died."""
    for trial in folder.trials():
        config = trial.read_config()
        if config["stage"] != stage or trial.read_end() is not None:
            continue
        drop_unproven_reports(trial)
        if (reports := trial.read_reports()) and reports[-1]["epoch"] >= config["epochs"]:
            end = End("finished", reports[-1]["epoch"], sum(r["seconds"] for r in reports))
            close_trial(trial, end)
            _notify_end(observers, TrialConfig.model_validate(config), end, reports)


def _notify_end(
    observers: Sequence[Observer],
    config: TrialConfig,
    end: End,
    reports: Sequence[Mapping[str, float]],
) -> None:
    notify(observers, lambda o: o.trial_ended(config, end, reports[-1].get("val_score")))


def _check_ended(folder: StudyFolder, stage: Stage) -> None:
    if unfinished := _Past.read(folder, stage).unfinished:
        raise InterruptedStudyError(
            f"the study was interrupted with {len(unfinished)} trials of its {stage} unfinished; "
            f"go on by --resume {folder.name}"
        )


def tune_cells(
    study: Study,
    data: TrialData,
    observers: Sequence[Observer],
    take_over: TakeOver | None,
) -> None:
    """Train every cell at every learning rate and evaluate it by validation.

    Args:
        study: the study.
        data: the data of the search's trials.
        observers: see `run_queue`.
        take_over: see `run_queue`.
    """
    seed = study.config.seed
    maker = TrialMaker(study, {seed: data})
    wanted = [
        maker.make("search", label, f"{label} at {rate:g}", number, settings, seed)
        for number, (label, rate, settings) in enumerate(_trials(study, ablation_cells(study)))
    ]
    run_queue(study, "search", wanted, {seed: data}, observers, take_over)


def fix_rates(study: Study) -> Mapping[str, Settings]:
    """Choose each cell's learning rate by validation, before the test split is read.

    The choice is written once; later calls read it.

    Returns:
        The chosen settings of each cell, by label.

    Raises:
        StudyError: no trial of a cell ran all its epochs.
    """
    if (written := study.cells()) is not None:
        return written
    cells = ablation_cells(study)
    if not study.protocol().validates(study.config):
        return study.fix_cells({label: own for label, _, own in _trials(study, cells)})
    # The best trial comes first, so in reversed order it is the last to be stored.
    best = {t.config.subset_key: t.config for t in reversed(finished_trials(study.folder))}
    depths = study.architecture().depths
    keys = {label: subset.key(depths) for label, subset in cells.items()}
    if missing := [label for label, key in keys.items() if key not in best]:
        raise StudyError(f"no trial of the cell '{missing[0]}' ran all its epochs")
    return study.fix_cells({label: best[key].settings for label, key in keys.items()})


def test_cells(
    study: Study,
    chosen: Mapping[str, Settings],
    data: Mapping[int, TrialData],
    observers: Sequence[Observer],
    take_over: TakeOver | None,
) -> None:
    """Train every cell at its learning rate on each seed's shots and test it.

    Args:
        study: the study.
        chosen: the settings of each cell, by label.
        data: the data of the trials, by seed.
        observers: see `run_queue`.
        take_over: see `run_queue`.
    """
    maker = TrialMaker(study, data)
    wanted = [
        maker.make("ablation", label, label, seed_index * 1000 + index, settings, seed)
        for seed_index, seed in enumerate(data)
        for index, (label, settings) in enumerate(chosen.items())
    ]
    run_queue(study, "ablation", wanted, data, observers, take_over)


def _trials(study: Study, cells: Mapping[str, Subset]) -> Iterator[tuple[str, float, Settings]]:
    if (ablation := study.config.ablation) is None:
        return
    weight = ablation.distill_weight
    for label, subset in cells.items():
        for rate in ablation.rates:
            rates = dict.fromkeys(kind_names(), rate)
            yield label, rate, Settings(subset=str(subset), rates=rates, distill_weight=weight)
