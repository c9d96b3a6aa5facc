"""A hash of everything that a trial's result depends on: equal hashes mean equal results."""

import inspect
import json
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import study
from study.backbones.architecture import Architecture
from study.data.images.decode import PREPROCESSING
from study.data.images.table import ImageTable
from study.errors import StudyError
from study.method.subsets import parse
from study.protocols import Protocol
from study.storage.atomic import sha256_of
from study.trial.study import TrialConfig, TrialData

PACKAGES = ("backbones", "data", "method", "protocols", "trial")
"""The folders of ``study``, with their subfolders, that hold the code results depend on."""
_NAMES = ("trial_id", "stage", "group", "label", "number", "config_hash", "split_hash", "training")
UNHASHED: dict[str, Any] = {**dict.fromkeys(_NAMES, True), "settings": {"subset"}}
"""The fields of `TrialConfig` that the hash leaves out.

Most of them only name a trial or its data, or say when it is scored. The data itself is hashed:
images by their pixels; and a subset by its tensors, since several texts may name the same
tensors. The training is hashed without the settings that have no effect."""


def compute_config_hash(config: TrialConfig, data: TrialData, architecture: Architecture) -> str:
    """Return a hash of everything that a trial's result depends on, whichever study it belongs to.

    The hash covers the tuned parameters, learning rates, seed and training settings; the pixels of
    every image for training or evaluation, and how files become pixels; class names and prompts;
    the checkpoint; and the code.

    Args:
        config: the trial's configuration; the fields in `UNHASHED` are ignored.
        data: the trial's data; its Arrow files must exist.
        architecture: the layers of the model, and the identity of its weights.

    Returns:
        Sixteen hexadecimal digits.
    """
    images = {
        "train": ImageTable(data.train_images).content_hash,
        "eval": ImageTable(data.eval_images).content_hash,
    }
    targets = {}
    for name, target in data.targets.items():
        images[f"target {name}"] = ImageTable(target.images).content_hash
        targets[name] = (target.class_names, target.templates)
    training = config.training.model_dump()
    if config.epochs == 0:  # those of heads and tests
        names = ("precision", "eval_batch_size", "balance")
        training = {name: training[name] for name in names}
    elif config.training.optimizer == "adamw":
        del training["momentum"]
    facts = {
        "trial": config.model_dump(mode="json", exclude=UNHASHED),
        "subset": parse(config.settings.subset).key(architecture.depths),
        "epoch_images": data.epoch_images,
        "heads": data.heads_of(config.settings),
        "training": training,
        "tasks": data.digest,
        "preprocessing": PREPROCESSING,
        "pixel_range": data.reading.pixel_range,
        "images": images,
        "protocol": data.protocol.name,
        "class_averaged": data.protocol.class_averaged,
        "class_names": data.class_names,
        "templates": data.templates,
        "augment": data.augment,
        "split": data.split,
        "targets": targets,
        "checkpoint": architecture.checkpoint,
        "code": code_hash(type(data.protocol)),
    }
    if config.settings.method:
        for library in config.settings.method.libraries:
            facts[library] = version(library)
    return sha256_of(json.dumps(facts, sort_keys=True).encode())[:16]


@cache
def code_hash(protocol: type[Protocol]) -> str:
    """Return a hash of the code that results depend on and of the versions of its libraries.

    The code is that of the `PACKAGES`, and the file of the protocol, which may be from elsewhere.

    Raises:
        StudyError: the protocol is not in a file.
    """
    root = Path(study.__file__ or "").parent
    paths = [path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]
    try:
        contents = [path.read_bytes() for path in (*paths, Path(inspect.getfile(protocol)))]
    except (TypeError, OSError) as error:
        raise StudyError(
            f"the code of the protocol '{protocol.name}' is not in a file ({error}), so a change "
            "of it could not be detected; move it into a module"
        ) from error
    versions = [version(library) for library in ("torch", "torchvision", "transformers")]
    return sha256_of(json.dumps([*map(sha256_of, contents), *versions]).encode())
