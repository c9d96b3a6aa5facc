"""A hash of everything that a trial's result depends on: equal hashes mean equal results."""

import ast
import hashlib
import inspect
import json
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import study
from study.data.images.decode import PREPROCESSING
from study.data.images.table import ImageTable
from study.errors import StudyError
from study.method.peers import PEERS
from study.protocols import Protocol
from study.storage.atomic import sha256_of
from study.trial import TrialConfig, TrialData

ROOMS = ("backbones", "data", "method", "protocols", "trial")
"""The folders of ``study``, with their subfolders, that hold the code results depend on."""
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
"""What may have docstrings: in front, and in a module or class below each name."""
NAMES: dict[str, Any] = {
    **dict.fromkeys(("trial_id", "stage", "arm", "label", "number", "optuna_number"), True),
    **dict.fromkeys(("config_hash", "taken_from", "split_hash", "scored_at"), True),
    "settings": {"subset"},
}
"""The fields of `TrialConfig` that the hash leaves out because they only name a trial or its data,
or say when it is looked at.

The data itself is hashed: images by their pixels; and a subset by its tensors (`subset_key`), since
several texts may name the same ones."""


def compute_config_hash(config: TrialConfig, data: TrialData, checkpoint: str) -> str:
    """Return a hash of everything that a trial's result depends on, whichever study it belongs to.

    The hash covers the tuned parameters, learning rates, seed and training settings; the pixels of
    every image for training or evaluation, and how files become pixels; class names and prompts;
    the checkpoint; and the code.

    Args:
        config: the trial's configuration; the fields in `NAMES` are ignored.
        data: the trial's data; its Arrow files must exist.
        checkpoint: the identity of the weights, see `study.backbones.architecture.Architecture`.

    Returns:
        Sixteen hexadecimal digits.
    """
    files = {
        "train": data.train_images,
        "eval": data.eval_images,
        **{f"target {name}": target.images for name, target in data.targets.items()},
    }
    # The training settings that have an effect; without training, those of an evaluation alone.
    training = config.training.model_dump(
        exclude={"momentum"} if config.training.optimizer == "adamw" else None
    )
    if config.epochs == 0:
        training = config.training.model_dump(include={"precision", "eval_batch_size"})
    facts = {
        "trial": config.model_dump(mode="json", exclude={**NAMES, "training": True}),
        "training": training,
        "tasks": data.digest,
        "preprocessing": PREPROCESSING,
        **data.reading.model_facts(),
        "images": {name: ImageTable(file).content_hash for name, file in files.items()},
        "protocol": data.protocol.name,
        "class_names": data.class_names,
        "templates": data.templates,
        "ensemble": data.ensemble,
        "augment": data.augment,
        "split": data.split,
        "targets": {name: (t.class_names, t.templates) for name, t in data.targets.items()},
        "checkpoint": checkpoint,
        "code": code_hash(Path(study.__file__ or "").parent),
        "code_of_others": code_of_others(type(data.protocol)),
    }
    if config.settings.peer is not None:
        for library in PEERS[config.settings.peer.method].libraries:
            facts[library] = version(library)
    return sha256_of(json.dumps(facts, sort_keys=True).encode())[:16]


@cache
def code_hash(package: Path) -> str:
    """Return a hash of the code that results depend on and of the versions of its libraries.

    The code counts by its syntax: another comment, docstring or layout is the same code.

    Args:
        package: the folder of the package ``study``.

    Returns:
        64 hexadecimal digits.

    Raises:
        FileNotFoundError: one of the `ROOMS` contains no code, for example because it was moved.
    """
    digest = hashlib.sha256()
    for room in ROOMS:
        if not (paths := sorted((package / room).rglob("*.py"))):
            raise FileNotFoundError(f"{package / room} holds no code, which results depend on")
        for path in paths:
            syntax = _syntax_hash(path.read_bytes())
            digest.update(f"{path.relative_to(package).as_posix()} {syntax}\n".encode())
    for library in ("torch", "torchvision", "transformers"):
        digest.update(f"{library} {version(library)}\n".encode())
    return digest.hexdigest()


@cache
def code_of_others(protocol: type[Protocol]) -> list[str]:
    """Return a hash of each file of a protocol's code that is not in this package.

    Those are the files of its classes and of the functions of its rules, but not what they import.

    Raises:
        StudyError: a class or function stands in no file.
    """
    parts = (*protocol.__mro__, *(rule.tasks for rule in protocol.rules))
    known = {study.__name__, *sys.stdlib_module_names}
    names = sorted({p.__module__ for p in parts if p.__module__.partition(".")[0] not in known})
    try:
        paths = [Path(inspect.getfile(sys.modules[name])) for name in names]
        return [_syntax_hash(path.read_bytes()) for path in paths]
    except (TypeError, OSError) as error:
        raise StudyError(
            f"the code of the protocol '{protocol.name}' stands in no file, so that its results "
            f"cannot be told from those of other code ({error}); put it into a module"
        ) from error


@cache
def _syntax_hash(code: bytes) -> str:
    """Return a hash of the syntax tree of code, without docstrings, comments and layout."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED):
            node.body = [statement for statement in node.body if not _is_text(statement)]
    return sha256_of(ast.dump(tree).encode())


def _is_text(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Constant):
        return False
    return isinstance(statement.value.value, str)
