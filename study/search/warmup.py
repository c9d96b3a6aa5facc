"""What workers import and load, begun while the driver still prepares a study."""

import ray

from study.config.schema import AUTO, BackboneConfig, StudyConfig
from study.method.recipe import Precision
from study.search.driver import concurrency
from study.search.internals import started_here


def warm_up(config: StudyConfig) -> None:
    """Let each slot of this machine import what trials need and load the backbone; do not wait.

    The first trials get these processes, which keep what they loaded. On a cluster, and where
    trials have GPUs, nothing is begun: processes there are not kept for what comes next.

    Args:
        config: the study's configuration.

    Raises:
        StudyError: this machine is too small for one trial.
    """
    training = config.training
    if not started_here() or config.resources.gpus_per_trial:
        return
    held = None if training.precision == AUTO else training.computed_in
    load = ray.remote(num_cpus=config.resources.cpus_per_trial, max_retries=0)(_load)
    for _ in range(concurrency(config) or 0):
        load.remote(config.backbone, held)


def _load(backbone: BackboneConfig, held: Precision | None) -> None:
    from study.search import trainable  # which imports torch and transformers

    if held is not None:
        trainable.load_once(backbone.name, backbone.revision, device="cpu", held=held)
