"""Run the search, or what the ledger lacks of it, and make the trials of all stages."""

from collections.abc import Collection, Iterable
from functools import partial
from pathlib import Path

from study.config.labels import TUNED
from study.errors import DataError
from study.search.deadline import Deadline
from study.search.driver import run_trials
from study.search.ledger_callback import Observers
from study.search.make_trial import make_trial
from study.search.optuna_arm import Arm, DamagedJournalError, Recorded, open_journal, rename_damaged
from study.search.queues import (
    LedgerTrial,
    read_and_close_trials,
    run_queue,
    run_reopened,
    unfinished,
)
from study.search.samplers import Sampler, sampler_named
from study.search.scheduler import make_scheduler
from study.search.searcher import Proposal, Proposers, StudySearcher, trains_encoders
from study.search.space import OpenSpace, PeerSpace, RateSpace, Space
from study.trial.search_time import seconds_used
from study.trial.study import Study, TrialData

JOURNAL = "optuna.journal"


def seconds_left(study: Study) -> float | None:
    """Return the seconds that the search may still take, negative if it has taken more.

    None means without limit.
    """
    minutes = study.config.search.minutes
    if minutes is None:
        return None
    return 60 * minutes - seconds_used(study.folder)


def run_search(
    study: Study,
    data: TrialData,
    observers: Observers,
    sampler: Sampler | None = None,
) -> None:
    """Train what is left of the baselines, CLIPFit's own search, the open search and the peers.

    Baselines come first, the cheapest before the others, and with them a first trial of each peer
    whose steps pass no encoder.

    Trials that had ended and were reopened come first, and end as they had. If the study has made
    its choice, no further trials are begun, since they could not be chosen any more.

    Args:
        study: the study.
        data: the data of the search's trials.
        observers: the listeners that are notified of every trial.
        sampler: the sampler, if it is not found by the name in the configuration.

    Raises:
        DataError: earlier trials used other images or classes, or are more than are planned.
        InterruptedStudyError: the study was interrupted before all trials ended.
        StudyError: no trial fits this machine.
    """
    config = study.config
    data_by_seed = {config.seed: data}
    if study.candidates() is not None:
        # Also a reopened trial whose earlier end is not known: no arm goes on with it any more.
        run_queue(study, "search", [], data_by_seed, observers)
        return
    # Only those with an earlier end: successive halving decides where the others end, below.
    run_reopened(study, data_by_seed, observers)
    ledger = read_and_close_trials(study, "search", data_by_seed, observers)
    _refuse_too_many(study, ledger.values())
    baselines = [
        make_trial(study, data, "search", Proposal(settings, "baseline", number), label=label)
        for number, (label, settings) in enumerate(config.search.fixed_baselines.items())
    ]
    # What trains an encoder comes last; their numbers stay those of the configuration.
    baselines.sort(key=lambda trial: (trains_encoders(trial), trial.epochs, trial.trainable))
    queue = unfinished(ledger, baselines)
    numbers = [trial.config.number for trial in ledger.values()]
    deadline = None
    seconds = seconds_left(study)
    if seconds is not None:
        deadline = Deadline(seconds)
    history = [
        (trial.config, trial.reports)
        for trial in ledger.values()
        if trial.end and trial.end.status != "failed"
    ]
    arms = open_arms(study, ledger.values(), sampler)
    proposers = Proposers(
        arms,
        make_trial=partial(make_trial, study, data, "search"),
        ended=[(t.config, t.outcome) for t in ledger.values() if t.outcome],
        next_number=max(len(baselines), 1 + max(numbers, default=-1)),
        deadline=deadline,
    )
    run_trials(
        study,
        StudySearcher(study.folder, queue, proposers=proposers),
        data=data_by_seed,
        scheduler=make_scheduler(config.search.asha, config.training.epochs, history, deadline),
        count=len(queue) + sum(arm.budget - arm.started for arm in arms),
        observers=observers,
    )


def _refuse_too_many(study: Study, ledger: Iterable[LedgerTrial]) -> None:
    """Raise DataError if there are more trials of the search than the configuration plans."""
    search = study.config.search
    planned = [t for t in ledger if search.counts_trial(t.config.arm, t.config.label)]
    if len(planned) > search.trials:
        raise DataError(
            f"{study.folder.config_path} plans {search.trials} trials of search, and "
            f"{len(planned)} are there: it is older than the study's last extension; set "
            "search.trials as extensions.json says, by clipfit-study extend"
        )


def open_arms(study: Study, ledger: Collection[LedgerTrial], sampler: Sampler | None) -> list[Arm]:
    """Open all arms and add to their Optuna studies what only the ledger holds."""
    journal = study.folder.path / JOURNAL
    try:
        arms = _open_journal(study, journal, sampler)
        for arm in arms:
            if arm.trials and not arm.agrees_with(_records_of(arm.name, ledger)):
                raise DamagedJournalError("it differs from the trials' own files")
    except DamagedJournalError as error:
        rename_damaged(journal, str(error))
        arms = _open_journal(study, journal, sampler)
    for arm in arms:
        recorded = _records_of(arm.name, ledger)
        arm.restore(recorded)
        arm.started = sum(trial.config.arm == arm.name for trial in ledger)
        for trial in ledger:
            if trial.config.arm == "baseline" and trial.outcome:
                arm.add_baseline(trial.config, trial.outcome)
        arm.fail_orphans()
    return arms


def _open_journal(study: Study, journal: Path, sampler: Sampler | None) -> list[Arm]:
    """Open the arms of a journal: of CLIPFit's own search, the open search, and each peer.

    Raises:
        DamagedJournalError: Optuna cannot read the journal.
    """
    search = study.config.search
    _, tuned_trials, open_trials = search.budget
    depths = study.architecture.depths
    regularizer = study.config.training.regularizer
    strength = study.protocol.strength
    open_space = OpenSpace(search.space, depths, regularizer=regularizer, strength=strength)
    clipfit = search.fixed_baselines["clipfit"]
    rate_space = RateSpace(
        search.space, depths, clipfit.subset, regularizer=regularizer, strength=strength
    )
    plan: list[tuple[str, int, Space]] = [
        (TUNED, tuned_trials, rate_space),
        ("search", open_trials, open_space),
    ]
    for label, peer in search.peer_arms.items():
        plan.append((label, search.peer_trials, PeerSpace(peer)))
    sampler = sampler_named(search.sampler, sampler)
    seed = study.config.seed
    return [
        Arm(
            name,
            open_journal(journal, name),
            trials,
            space,
            sampler,
            seed,
            is_quick=name in search.quick_peers,
        )
        for name, trials, space in plan
    ]


def _records_of(arm: str, ledger: Iterable[LedgerTrial]) -> list[Recorded]:
    """Return what the ledger holds of the trials that an arm proposed."""
    records = []
    for trial in ledger:
        config = trial.config
        if config.arm != arm:
            continue
        scores = {
            report["epoch"]: report["val_score"]
            for report in trial.reports
            if "val_score" in report
        }
        records.append(Recorded(config.trial_id, config.settings, scores, trial.outcome))
    return records
