"""The driver that runs a stage's trials on Ray: its start, Tune, resources, interruptions."""

import gc
import logging
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import ray
from ray import tune
from ray.tune.schedulers import TrialScheduler

from study.config.schema import StudyConfig
from study.errors import ClusterError, InterruptedStudyError, StudyError
from study.method.device import gpu_kind
from study.search.hung_workers import HungWorkers
from study.search.ledger_callback import LedgerCallback
from study.search.machine import (
    cluster_address,
    refuse_silent_cluster,
    source_of_address,
    unjoined_cluster,
    wait_for_temporary_space,
)
from study.search.observers import Observers
from study.search.ray_errors import cause_of
from study.search.ray_internals import (
    ignore_second_failure,
    in_own_sessions,
    keep_token_private,
    on_loopback,
    retry_record,
    started_here,
)
from study.search.ray_watch import exit_if_ray_is_lost
from study.search.searcher import StudySearcher
from study.search.trainable import ClipFitTrainable
from study.storage.command_lines import study_command
from study.storage.ledger_files import JsonObject
from study.trial.study import Study, TrialData

logger = logging.getLogger(__name__)

TUNE_ENVIRONMENT = {
    # A test reports a score only after its last epoch; Tune expects one after each.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # The ledger holds the results; Tune's own record would be a copy that is never read.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    # What Apple's GPU cannot do is left to the CPU.
    "PYTORCH_ENABLE_MPS_FALLBACK": "1",
}
NOT_STARTED = re.compile("timed out|^Failed to start", re.IGNORECASE)
"""What Ray says if it does not start, or if a process of it ends meanwhile."""


@contextmanager
def ray_session(go_on: str | None = None) -> Iterator[None]:
    """Join a cluster, or start a Ray of one's own, for the duration of the block.

    Args:
        go_on: see `exit_if_ray_is_lost`; None means that the loss of Ray is not watched for.

    Raises:
        StudyError: the cluster to join does not answer.
        ClusterError: Ray does not start.
    """
    for name, value in TUNE_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with ExitStack() as stack:
        if not ray.is_initialized():
            _start_ray()
            stack.callback(_shut_down)
        if go_on is not None:
            stack.enter_context(exit_if_ray_is_lost(go_on))  # left before Ray is asked to end
        yield


def _start_ray() -> None:
    """Join the cluster that is named, or start a Ray for this process alone.

    Name a live cluster of this machine that is not joined.

    Raises:
        StudyError: the cluster to join does not answer.
        ClusterError: Ray does not start.
    """
    try:
        refuse_silent_cluster()
    except StudyError as error:
        raise StudyError(f"{source_of_address()}: {error}") from error
    beside = unjoined_cluster()
    if beside is not None:
        logger.warning("%s", beside)
    address = cluster_address()
    keep_token_private()
    options: JsonObject = {"log_to_driver": False, "logging_level": logging.ERROR}
    with ExitStack() as starting:
        starting.enter_context(_restore_sigterm_handler())
        starting.enter_context(in_own_sessions())
        if address == "local":
            starting.enter_context(on_loopback())
            options |= {
                "include_dashboard": False,
                # Until a worker's imports are done, see `ClipFitTrainable.setup`.
                "runtime_env": {"worker_process_setup_hook": "gc.disable"},
            }
            if gpu_kind() == "mps":  # Ray knows nothing of Apple's GPU
                options["num_gpus"] = 1
        try:
            ray.init(address=address, **options)
        except Exception as error:  # Ray's has no type of its own
            if not NOT_STARTED.search(str(error)):
                raise
            ray.shutdown()
            wait_for_temporary_space()
            cause = cause_of(error)
            raise ClusterError(f"Ray did not start; the machine may be busy: {cause}") from error
    keep_token_private()  # which Ray may have made


def concurrency(config: StudyConfig) -> int | None:
    """Return how many trials may run at once: the configured number, else what this machine holds.

    Return None, which means as many as the cluster holds, if this process did not start Ray. One
    more trial then waits: an autoscaler sees it, and a machine that joins later takes it.

    Raises:
        StudyError: this machine is too small for one trial.
    """
    resources = config.resources
    if resources.max_concurrent is not None:
        return resources.max_concurrent
    cluster = ray.cluster_resources()
    cpus = cluster.get("CPU", 0)
    gpus = cluster.get("GPU", 0)
    needs = [(cpus, resources.cpus_per_trial), (gpus, resources.gpus_per_trial)]
    slots = min(available / needed for available, needed in needs if needed)
    shortage = (
        f"resources.cpus_per_trial is {resources.cpus_per_trial:g} and resources.gpus_per_trial is "
        f"{resources.gpus_per_trial:g}; the cluster has CPUs: {cpus:g}, GPUs: {gpus:g}"
    )
    if started_here():
        if slots < 1:
            raise StudyError(f"there is no room for a trial: {shortage}")
        return int(slots)
    if slots < 1:
        logger.warning("waiting for a machine that has room for a trial: %s", shortage)
    return None


def run_trials(
    study: Study,
    searcher: StudySearcher,
    *,
    data: Mapping[int, TrialData],
    scheduler: TrialScheduler,
    count: int,
    observers: Observers,
) -> None:
    """Run up to ``count`` trials of one stage to their ends.

    Args:
        study: the study.
        searcher: the source of the trials.
        data: the data of the trials, by seed.
        scheduler: the scheduler that stops trials early.
        count: the most trials to run.
        observers: the listeners that are notified of every trial.

    Raises:
        InterruptedStudyError: Ctrl-C or another signal ended the run early.
        StudyError: this machine is too small for one trial; see `concurrency`.
        StorageError: the ledger cannot be read or written.
    """
    if count == 0:
        return
    folder = study.folder
    resources = study.config.resources
    trainable = tune.with_parameters(
        ClipFitTrainable,
        folder=folder.path.resolve(),
        settings=study.config,
        data=data,
    )
    needs = {"cpu": resources.cpus_per_trial, "gpu": resources.gpus_per_trial}
    trainable = tune.with_resources(trainable, needs)
    tune_config = tune.TuneConfig(
        search_alg=searcher,
        scheduler=scheduler,
        num_samples=count,
        max_concurrent_trials=concurrency(study.config),
        reuse_actors=True,
    )
    run_config = tune.RunConfig(
        name="tune",
        storage_path=str(folder.path.resolve()),
        callbacks=[LedgerCallback(searcher, observers, HungWorkers(resources.max_epoch_seconds))],
        failure_config=tune.FailureConfig(max_failures=resources.max_failures),
        checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        verbose=0,
        progress_reporter=tune.ProgressReporter(),  # Tune's own clears the cell of a notebook
    )
    tuner = tune.Tuner(trainable, tune_config=tune_config, run_config=run_config)
    with ignore_second_failure(wait_for_temporary_space), retry_record():
        interrupted = _was_interrupted(tuner.fit)
    if interrupted or searcher.running:
        raise InterruptedStudyError(
            "the study was interrupted before all its trials had ended; "
            f"to continue, run\n  {study_command('resume', folder.path)}"
        )


def _was_interrupted(fit: Callable[[], object]) -> bool:
    """Let Tune run, and return whether Ctrl-C ended its run early.

    On the first Ctrl-C Tune returns as if all trials had ended and reports nothing. The only sign
    is that its signal handler restored the previous one. Without a Ctrl-C its handler stays
    installed and would catch the first Ctrl-C after Tune, so it is removed here.
    """
    before = signal.getsignal(signal.SIGINT)
    handles_signal = not int(os.environ.get("TUNE_DISABLE_SIGINT_HANDLER", "0"))
    in_main_thread = threading.current_thread() is threading.main_thread()
    try:
        fit()
        return in_main_thread and handles_signal and signal.getsignal(signal.SIGINT) is before
    finally:
        if in_main_thread:
            signal.signal(signal.SIGINT, before)


@contextmanager
def _restore_sigterm_handler() -> Iterator[None]:
    """Restore the handler of SIGTERM after the block, since Ray replaces it as it starts.

    Raises:
        KeyboardInterrupt: SIGTERM came during the block.
    """
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as end:  # as Ray reacts
        if end.code != signal.SIGTERM:
            raise
        raise KeyboardInterrupt from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _shut_down() -> None:
    """Collect all garbage, and shut Ray down while the collector is disabled in every thread.

    Ray ends the process at once if one of its references is freed while it shuts down. Tune leaves
    such references in cycles, and the collector frees them in any thread. It once did so in the
    thread of the mirror, which sends the last results at that time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        cycle: list[object] = []
        cycle.append(cycle)
        del cycle
        while not gc.collect():  # 0 as long as another thread is collecting
            time.sleep(0.001)
        ray.shutdown()
    finally:
        if enabled:
            gc.enable()
