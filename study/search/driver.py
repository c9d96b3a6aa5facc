"""The driver that runs trials on Ray: its start, Tune, resources, interruptions."""

import gc
import logging
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import ray
from ray import tune

from study.config.schema import StudyConfig
from study.errors import ClusterError, InterruptedStudyError, StudyError
from study.method.device import gpu_kind
from study.search.cluster import ADDRESS, cluster_address, refuse_unreachable_cluster
from study.search.ray_internals import (
    cause_of,
    keep_token_private,
    on_loopback,
    own_processes,
    patched_tune,
    wait_for_temporary_space,
)
from study.search.searcher import Rounds
from study.search.study_callback import StudyCallback
from study.search.trainable import ClipFitTrainable
from study.search.tune_rounds import RoundScheduler, RoundSearcher
from study.storage.atomic import FULL, StorageError
from study.storage.command_lines import study_command
from study.storage.result_folder import JsonObject
from study.trial.study import Study

logger = logging.getLogger(__name__)

TUNE_ENVIRONMENT = {
    # A test reports a score only after its last epoch; Tune expects one after each.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # The study's folder holds the results; Tune's own record would be a copy that is never read.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    # What Apple's GPU cannot do is left to the CPU.
    "PYTORCH_ENABLE_MPS_FALLBACK": "1",
}


@contextmanager
def ray_session() -> Iterator[Future[None]]:
    """Join a cluster, or start a Ray of one's own, for the duration of the block.

    Ray takes seconds to start. It does so in a thread, beside what the block does first.

    Yields:
        The start. Its ``result()`` waits for it; it raises a StudyError if the cluster to join does
        not answer, and a ClusterError if Ray does not start.
    """
    for name, value in TUNE_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    starts = not ray.is_initialized()
    # The thread stays: Linux ends Ray's processes with the thread that has started them.
    with ThreadPoolExecutor(1) as thread:
        start = thread.submit(_start_ray if starts else lambda: None)
        try:
            yield start
        finally:
            if start.exception() is None and starts:
                _shut_down()


def _start_ray() -> None:
    """Join the cluster that is named, or start a Ray for this process alone.

    Raises:
        StudyError: the cluster to join does not answer.
        ClusterError: Ray does not start.
    """
    try:
        refuse_unreachable_cluster()
    except StudyError as error:
        raise StudyError(f"{ADDRESS}: {error}") from error
    address = cluster_address()
    keep_token_private()
    options: JsonObject = {"log_to_driver": False, "logging_level": logging.ERROR}
    logging.getLogger("ray").setLevel(logging.ERROR)  # it warns that it leaves signals alone
    with ExitStack() as starting:
        if address == "local":
            starting.enter_context(on_loopback())
            options["include_dashboard"] = False
            if gpu_kind() == "mps":  # Ray knows nothing of Apple's GPU
                options["num_gpus"] = 1
        try:
            ray.init(address=address, **options)
        except Exception as error:  # Ray's has no type of its own
            ray.shutdown()
            wait_for_temporary_space()
            raise ClusterError(f"Ray did not start: {cause_of(error)}") from error
    keep_token_private()  # which Ray may have made


def _shut_down() -> None:
    """Shut Ray down while no thread collects garbage.

    Ray ends the process at once if one of its references is freed meanwhile. Tune leaves such
    references in cycles.
    """
    gc.collect()
    gc.disable()
    try:
        ray.shutdown()
    finally:
        gc.enable()


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
        f"{resources.gpus_per_trial:g}, but Ray has {cpus:g} CPUs and {gpus:g} GPUs"
    )
    if own_processes():
        if slots < 1:
            raise StudyError(f"no trial can run: {shortage}")
        return int(slots)
    if slots < 1:
        logger.warning("waiting for a machine that can run a trial: %s", shortage)
    return None


def run_trials(study: Study, rounds: Rounds) -> None:
    """Run all trials of a study's rounds to their ends by Tune, one round after the other.

    Raises:
        InterruptedStudyError: Ctrl-C or another signal ended the run early.
        StudyError: this machine is too small for one trial; see `concurrency`.
        StorageError: the study's folder cannot be read or written.
    """
    rounds = (one for one in rounds if one.searcher.has_trials())
    first = next(rounds, None)
    if first is None:
        return
    folder = study.folder
    resources = study.config.resources
    trainable = tune.with_parameters(
        ClipFitTrainable,
        folder=folder.path.resolve(),
        settings=study.config,
    )
    needs = {"cpu": resources.cpus_per_trial, "gpu": resources.gpus_per_trial}
    trainable = tune.with_resources(trainable, needs)
    callback = StudyCallback(first, resources.max_epoch_seconds)
    searcher = RoundSearcher(callback, rounds)
    at_once = concurrency(study.config)
    tune_config = tune.TuneConfig(
        search_alg=searcher,
        scheduler=RoundScheduler(callback, at_once),
        num_samples=-1,  # as many as the searcher has
        max_concurrent_trials=at_once,
        reuse_actors=True,
    )
    run_config = tune.RunConfig(
        name="tune",
        storage_path=str(folder.path.resolve()),
        callbacks=[callback],
        failure_config=tune.FailureConfig(max_failures=resources.max_failures),
        checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        verbose=0,
        progress_reporter=tune.ProgressReporter(),  # Tune's own clears the cell of a notebook
    )
    tuner = tune.Tuner(trainable, tune_config=tune_config, run_config=run_config)
    before = signal.getsignal(signal.SIGINT)
    try:
        with patched_tune():
            tuner.fit()
    except OSError as error:
        if error.errno not in FULL:
            raise
        # Tune writes a record of its own beside Ray's temporary files.
        raise StorageError(f"the disk with Ray's temporary files is full: {error}") from error
    finally:
        # Tune's own handler, which ends its run at Ctrl-C as if all trials had ended, stays.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)
    if not searcher.is_over:
        raise InterruptedStudyError(
            "the study was interrupted before all trials ended; "
            f"to continue, run\n  {study_command('resume', folder.path)}"
        )
