"""The search, from what the ledger holds of it, and the trials that stages make of settings."""

import math
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import NamedTuple

from study.backbones.architecture import Architecture
from study.config.labels import TUNED, VARIANT
from study.config.schema import StudyConfig
from study.config.trial_settings import Peer, TrialSettings
from study.errors import DataError
from study.method.parameters import Leaf, count_numbers
from study.method.subsets import parse
from study.search.deadline import Deadline, InTime, spent
from study.search.driver import decisions, make_scheduler, run_trials
from study.search.ledger_callback import Observer
from study.search.optuna_arm import Arm, DamagedJournalError, Recorded, open_arm, set_aside
from study.search.queues import Past, left, read_past, run_queue
from study.search.samplers import Sampler, sampler_named
from study.search.searcher import StudySearcher
from study.search.space import OpenSpace, PeerSpace, RateSpace, Space
from study.selection.candidates import extensions, finished_trials, possible_variants, variants
from study.trial import SPLIT_HASH, Stage, TrialConfig, TrialData
from study.trial.config_hash import compute_config_hash
from study.trial.study import Study

JOURNAL = "optuna.journal"

Telling = Callable[[Sequence[str], int], None]
"""Prints sentences, and shows another number of trials from then on."""


class Budget(NamedTuple):
    """The number of trials of each part of the search, which peers stand outside of."""

    baselines: int
    tuned: int
    """The trials that tune the learning rates and λ of CLIPFit's own subset."""
    open: int
    """The trials that search over subsets, learning rates and λ."""


def budget(config: StudyConfig) -> Budget:
    """Return how the trials are split; ``tuned_share`` is a fraction of all trials."""
    baselines = len(config.search.baselines) - len(config.search.peers)
    tuned = math.ceil(config.search.tuned_share * config.search.trials)
    return Budget(baselines, tuned, config.search.trials - baselines - tuned)


def most_trials(study: Study) -> int:
    """Return the largest number of trials that a search may come to, with peers and variants."""
    search = study.config.search
    possible = possible_variants(study.config, study.protocol().strength_of(study.config))
    labels = [
        config["label"]
        for trial in study.folder.trials()
        if (config := trial.read_config())["stage"] == "search" and config["arm"] == VARIANT
    ]
    # More trials may change what is best of an arm, whose variants are then trained anew.
    lasting = set() if extensions(study) else {*labels}
    return search.planned + len(labels) + len({*possible} - lasting)


def seconds_left(study: Study) -> float | None:
    """Return the seconds that the search may still take; None means without limit."""
    minutes = study.config.search.minutes
    if minutes is None:
        return None
    reports = []
    for trial in study.folder.trials():
        config = trial.read_config()
        if config["stage"] == "search" and config["arm"] != VARIANT:
            reports.append(trial.read_reports())
    return max(0.0, 60 * minutes - spent(reports))


def run_search(
    study: Study,
    data: TrialData,
    observers: Sequence[Observer],
    sampler: Sampler | None = None,
    telling: Telling = lambda sentences, trials: None,
) -> None:
    """Train the baselines, CLIPFit's own search, the open search and the peers, or what is left.

    What had ended and was reopened comes first, and ends as it had. If the study has made its
    choice, nothing else follows but what is open: it could not be chosen any more.

    Args:
        study: the study.
        data: the data of the search's trials.
        observers: the listeners that are notified of every trial.
        sampler: the sampler, if it is not found by the name in the configuration.
        telling: a function that is called before the variants are trained, with a sentence on them
            and the number of trials that the search comes to with them.

    Raises:
        DataError: earlier trials used other images or classes.
        InterruptedStudyError: the study was interrupted before all trials ended.
    """
    config, count = study.config, study.config.search.trials
    chosen = study.candidates() is not None
    run_queue(study, "search", [], {config.seed: data}, observers, only_again=not chosen)
    if chosen:
        return
    past = read_past(study, "search", {config.seed: data}, observers)
    plans = config.search.plans
    planned = [t for t in past.values() if plans(t.config.arm, t.config.label)]
    proposed = [trial for trial in past.values() if trial.config.arm != VARIANT]
    if len(planned) > count:
        raise DataError(
            f"{study.folder.config_path} plans {count} trials of search, and "
            f"{len(planned)} are there: it is older than the study's last extension; set "
            "search.trials as extensions.json says, by clipfit-study extend"
        )
    baselines = [
        make_trial(study, data, "search", settings, "baseline", number, label=label)
        for number, (label, settings) in enumerate(config.search.fixed.items())
    ]
    ended = [(t.config, t.outcome) for t in past.values() if t.outcome is not None]
    minutes, before = config.search.minutes, spent(trial.reports for trial in proposed)
    deadline = None if minutes is None else Deadline(60 * minutes - before)
    scheduler = make_scheduler(
        config.search.asha,
        config.training.epochs,
        [(t.config, t.reports) for t in proposed if t.end and t.end.status != "failed"],
    )
    queue = [trial for trial in left(past, baselines) if trial.arm != VARIANT]
    searcher = StudySearcher(
        study.folder,
        queue,
        arms=open_arms(study, past.values(), sampler),
        make_config=partial(make_trial, study, data, "search"),
        ended=ended,
        next_number=max([len(baselines) - 1, *(t.config.number for t in past.values())]) + 1,
        deadline=deadline,
    )
    run_trials(
        study,
        searcher,
        data={f"search/{config.seed}": data},
        scheduler=scheduler if deadline is None else InTime(deadline, scheduler),
        count=count
        - sum(trial.outcome is not None for trial in planned)
        + sum(not plans(trial.arm, trial.label) for trial in queue)
        + sum(
            config.search.peer_trials - sum(trial.config.arm == peer for trial in proposed)
            for peer in config.search.peer_arms
        ),
        observers=observers,
    )
    _run_variants(study, data, observers, telling)


def _run_variants(
    study: Study,
    data: TrialData,
    observers: Sequence[Observer],
    telling: Telling,
) -> None:
    """Train what was validated without head and strength with them, to its last epoch.

    These trials stand outside the budget of the search, since they propose nothing new.
    """
    run_queue(study, "search", [], {study.config.seed: data}, observers)  # those interrupted
    strength = study.protocol().strength_of(study.config)
    wanted = variants(finished_trials(study.folder), study.config, strength)
    configs = [trial.read_config() for trial in study.folder.trials()]
    number = 1 + max(config["number"] for config in configs if config["stage"] == "search")
    trials = (
        make_trial(study, data, "search", settings, VARIANT, number + place, label=label)
        for place, (label, settings) in enumerate(wanted.items())
    )
    known = {config.get("config_hash") for config in configs}  # some, if they failed before
    untried = [trial for trial in trials if trial.config_hash not in known]
    searched = sum(config["stage"] == "search" for config in configs)
    telling(_on_variants(study, untried), searched + len(untried))
    run_queue(study, "search", untried, {study.config.seed: data}, observers)


def _on_variants(study: Study, untried: Sequence[TrialConfig]) -> list[str]:
    """Return a sentence on the variants that are to be trained, if there are any."""
    if not untried:
        return []
    limit = study.config.search.minutes
    beyond = "" if limit is None else f"; not limited by search.minutes={limit:g}"
    labels = ", ".join(trial.label for trial in untried)
    count = "1 trial of a baseline" if len(untried) == 1 else f"{len(untried)} trials of baselines"
    return [f"plus {count} with another head or strength: {labels}{beyond}"]


def make_trial(
    study: Study,
    data: TrialData,
    stage: Stage,
    settings: TrialSettings,
    arm: str,
    number: int,
    optuna_number: int | None = None,
    *,
    label: str | None = None,
    seed: int | None = None,
) -> TrialConfig:
    """Return the trial of some settings, less those without an effect, with its config hash.

    Args:
        study: the study.
        data: the data of the trial.
        stage: the stage of the trial.
        settings: the settings.
        arm: who proposed the trial.
        number: the number of the trial within its stage.
        optuna_number: the number of the proposal in the Optuna study of its arm.
        label: the label of the trial; None means one that is made from its number.
        seed: the seed of the trial; None means that of the search.
    """
    training, architecture = study.config.training, study.architecture()
    if peer := settings.peer:
        own = peer.model_dump(include={"optimizer", "weight_decay"})
        training = training.model_copy(update=own)
    subset = parse(settings.subset)
    leaves = subset.resolve(architecture.depths)
    name = f"{label}-seed{seed}" if stage == "confirm" else f"{number:04d}"
    trial = TrialConfig(
        trial_id=f"{stage}-{name}",
        stage=stage,
        arm=arm,
        label=f"{arm if peer else 'trial'} {number}" if label is None else label,
        number=number,
        seed=study.config.seed if seed is None else seed,
        settings=settings.effective(leaves, training.regularizer),
        subset_key=subset.key(architecture.depths),
        trainable=_count_encoders(architecture, leaves, peer)
        + (settings.head == "linear") * architecture.dim * len(data.tasks[0].train.classes),
        epochs=training.epochs if leaves or peer else 0,
        split_hash=data.digest[:SPLIT_HASH],
        training=training,
        optuna_number=optuna_number,
        scored_at=decisions(study.config.search.asha, training.epochs)
        if stage == "search" and settings.head == "linear"
        else None,
    )
    return trial.model_copy(
        update={"config_hash": compute_config_hash(trial, data, architecture.checkpoint)}
    )


def _count_encoders(architecture: Architecture, leaves: Collection[Leaf], peer: Peer | None) -> int:
    """Return how many values of the encoders are trained."""
    if peer is None:
        return count_numbers(architecture, leaves)
    return architecture.count_all() if peer.method == "full" else architecture.count_lora(peer.rank)


def open_arms(study: Study, past: Collection[Past], given: Sampler | None) -> list[Arm]:
    """Open all arms and add to their Optuna studies what only the ledger holds."""
    search, depths = study.config.search, study.architecture().depths
    _, tuned, searched = budget(study.config)
    journal, regularizer = study.folder.path / JOURNAL, study.config.training.regularizer
    clipfit = search.fixed["clipfit"]
    open_space = OpenSpace(
        search.space,
        depths,
        regularizer=regularizer,
        strength=study.protocol().strength_of(study.config),
    )
    spaces: dict[str, tuple[int, Space]] = {
        TUNED: (
            tuned,
            RateSpace(search.space, depths, clipfit.subset, regularizer=regularizer),
        ),
        "search": (searched, open_space),
        **{
            label: (search.peer_trials, PeerSpace(peer)) for label, peer in search.peer_arms.items()
        },
    }
    sampler = sampler_named(search.sampler, given)
    recorded = {
        name: [
            Recorded(
                trial.config.optuna_number,
                trial.config.trial_id,
                trial.config.settings,
                {r["epoch"]: r["val_score"] for r in trial.reports if "val_score" in r},
                trial.outcome,
            )
            for trial in past
            if trial.config.arm == name and trial.config.optuna_number is not None
        ]
        for name in spaces
    }

    def open_all() -> list[Arm]:
        return [
            open_arm(
                journal, name, budget=trials, space=space, sampler=sampler, seed=study.config.seed
            )
            for name, (trials, space) in spaces.items()
        ]

    try:
        arms = open_all()
        if any(arm.trials and not arm.agrees_with(recorded[arm.name]) for arm in arms):
            raise DamagedJournalError("it differs from the trials' own files")
    except DamagedJournalError as error:
        set_aside(journal, str(error))
        arms = open_all()
    for arm in arms:
        is_new = not arm.trials
        arm.remember(recorded[arm.name])
        if search.warm_start is not None and is_new:
            source = study.folder.path.with_name(search.warm_start) / JOURNAL
            # A search that began has read it before. If the own journal is lost since, and the
            # other study is deleted, it goes on without what it had not tried yet.
            if source.exists() or not past:
                arm.try_first(source)
        arm.started = sum(trial.config.arm == arm.name for trial in past)
        for trial in past:
            if trial.config.arm == "baseline" and trial.outcome is not None:
                config = trial.config
                arm.learn(config.settings, trial.outcome, config.label, config.trial_id)
        arm.fail_orphans({trial.number for trial in recorded[arm.name]})
    if search.space.neighbours:
        own, open_search, *_ = arms
        open_search.open_with(open_space.neighbours(parse(clipfit.subset)), own, clipfit.flat())
    return arms
