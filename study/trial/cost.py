"""The cost of a trial's steps on this machine, measured with random pixels."""

import resource
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, NamedTuple

import psutil
import torch

from study.backbones.description import backbone_path
from study.backbones.load_backbone import load_backbone
from study.config.schema import BackboneConfig, TrainingConfig
from study.config.search_section import AUTO
from study.method.device import gpu_kind
from study.method.model import FewShotClassifier
from study.method.parameters import kind_names
from study.method.precision import cast_matrices, choose_precision
from study.method.staged import StagedClassifier
from study.method.subsets import parse
from study.method.training import Objective, Recipe, make_optimizer, training_step
from study.trial.machine_faults import OutOfMemoryError, is_out_of_memory

STEPS = 3
"""The number of measured steps, after a first one that is not measured."""
EVALUATED = 64
"""The number of images that pass the encoder in the measured evaluation."""


class Cost(NamedTuple):
    """The cost of the parts of a trial on this machine."""

    step: float
    """The duration of a training step, in seconds."""
    image: float
    """The duration of the evaluation of an image, in seconds."""
    memory: int
    """The most memory that a process of a trial needs, in bytes, on the GPU if it has one."""
    start: float = 0.0
    """The duration from the start of a process to its first step, in seconds."""


def measure_in_processes(*arguments: Any, at_once: int = 1) -> Cost:
    """Call `measure` in processes of their own, whose memory is that of a trial.

    Args:
        arguments: those of `measure`.
        at_once: the number of processes, which share the machine as trials do.

    Returns:
        The cost in the slowest of them.

    Raises:
        OutOfMemoryError: a batch does not fit into memory.
        StudyError: the backbone cannot be read.
    """
    try:
        with ProcessPoolExecutor(at_once, mp_context=get_context("spawn")) as pool:
            costs = [pool.submit(measure, *arguments) for _ in range(at_once)]
            return max(cost.result() for cost in costs)
    except (BrokenProcessPool, MemoryError, RuntimeError) as error:
        if not isinstance(error, BrokenProcessPool) and not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(
            "out of memory with training.batch_size images at once, so no step was measured; a "
            "trial would use fewer at a time"
        ) from error


def measure(
    backbone: BackboneConfig,
    training: TrainingConfig,
    texts: Sequence[str],
    threads: int,
    gpu: bool,
) -> Cost:
    """Take real steps in this process and return their cost.

    Args:
        backbone: the backbone.
        training: the settings of training.
        texts: the prompt of each class that is trained.
        threads: the number of PyTorch's threads.
        gpu: whether a trial has a GPU.
    """
    torch.set_num_threads(threads)
    device = torch.device("cpu")
    if gpu:
        device = torch.device(gpu_kind() or "cpu")
    loaded = load_backbone(backbone_path(backbone.name), revision=backbone.revision)
    is_open = training.precision == AUTO
    precision = choose_precision(device) if is_open else training.trial_precision
    cast_matrices(loaded.clip, precision)
    loaded.clip.to(device)
    classifier = FewShotClassifier(loaded, parse("clipfit"), precision=precision)
    model = StagedClassifier(classifier)
    prompts = model.begin_prompts(loaded.tokenize([*texts]).to(device))
    with torch.no_grad():
        objective = Objective(prompts, model.encode_text(prompts), 1.0)
    rates = dict.fromkeys(kind_names(), 1e-6)
    optimizer = make_optimizer(classifier.tuned, rates, Recipe(training.optimizer))
    size = loaded.image_size
    batch = training.batch_size
    pixels = torch.randn(max(batch, EVALUATED), 3, size, size, device=device)
    labels = torch.arange(batch, device=device) % len(texts)

    def step() -> None:
        begun = model.begin_images(pixels[:batch])
        training_step(model, optimizer, begun, labels, objective)

    @torch.no_grad()
    def evaluate() -> None:
        model.encode_image(model.begin_images(pixels[:EVALUATED]))

    start = max(0.0, time.time() - psutil.Process().create_time())
    step()
    seconds = min(_timed(step, device) for _ in range(STEPS))
    image = min(_timed(evaluate, device) for _ in range(STEPS)) / EVALUATED
    if device.type == "cuda":
        memory = torch.cuda.max_memory_allocated()
    elif device.type == "mps":
        memory = torch.mps.driver_allocated_memory()
    else:
        unit = 1 if sys.platform == "darwin" else 1024  # bytes
        memory = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Cost(seconds, image, memory, start)


def _timed(do: Callable[[], None], device: torch.device) -> float:
    began = time.perf_counter()
    do()
    if device.type != "cpu":
        torch.get_device_module(device).synchronize()
    return time.perf_counter() - began
