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
from study.backbones.architecture import Architecture
from study.data.images.decode import PREPROCESSING
from study.data.images.table import ImageTable
from study.errors import StudyError
from study.method.peers import PEERS
from study.method.subsets import parse
from study.protocols import Protocol
from study.storage.atomic import sha256_of
from study.trial import TrialConfig, TrialData

ROOMS = ("backbones", "data", "method", "protocols", "trial")
"""The folders of ``study``, with their subfolders, that hold the code results depend on."""
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
"""The nodes of a syntax tree whose body may contain docstrings."""
_UNHASHED_WHOLE = (
    "trial_id",
    "stage",
    "group",
    "label",
    "number",
    "config_hash",
    "split_hash",
    "training",
)
UNHASHED: dict[str, Any] = {
    **dict.fromkeys(_UNHASHED_WHOLE, True),
    "settings": {"subset"},
}
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
        "images": images,
        "protocol": data.protocol.name,
        "class_averaged": data.protocol.class_averaged,
        "class_names": data.class_names,
        "templates": data.templates,
        "ensemble": data.ensemble,
        "augment": data.augment,
        "split": data.split,
        "targets": targets,
        "checkpoint": architecture.checkpoint,
        "code": code_hash(Path(study.__file__ or "").parent),
        "code_of_others": code_of_others(type(data.protocol)),
    }
    facts |= data.reading.model_facts()
    if config.settings.peer:
        for library in PEERS[config.settings.peer.method].libraries:
            facts[library] = version(library)
    return sha256_of(json.dumps(facts, sort_keys=True).encode())[:16]


@cache
def code_hash(package: Path) -> str:
    """Return a hash of the code that results depend on and of the versions of its libraries.

    Only the syntax of the code counts: comments, docstrings and layout do not change the hash.

    Args:
        package: the folder of the package ``study``.

    Returns:
        64 hexadecimal digits.

    Raises:
        FileNotFoundError: one of the `ROOMS` contains no code, for example because it was moved.
    """
    digest = hashlib.sha256()
    for room in ROOMS:
        paths = sorted((package / room).rglob("*.py"))
        if not paths:
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

    Those are the files of its classes and of the functions of its rules, but not the modules that
    they import.

    Raises:
        StudyError: a class or function is in no file.
    """
    modules = {base.__module__ for base in protocol.__mro__}
    modules.update(rule.tasks.__module__ for rule in protocol.rules)
    hashes = []
    try:
        for module in sorted(modules):
            package, _, _ = module.partition(".")
            if package == study.__name__ or package in sys.stdlib_module_names:
                continue
            hashes.append(_syntax_hash(Path(inspect.getfile(sys.modules[module])).read_bytes()))
    except (TypeError, OSError) as error:
        raise StudyError(
            f"the code of the protocol '{protocol.name}' stands in no file, so that its results "
            f"cannot be told from those of other code ({error}); put it into a module"
        ) from error
    return hashes


@cache
def _syntax_hash(code: bytes) -> str:
    """Return a hash of the syntax tree of code, without docstrings, comments and layout."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED):
            node.body = [statement for statement in node.body if not _is_text(statement)]
    return sha256_of(ast.dump(tree).encode())


def _is_text(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(ast.Constant(str())):
            return True
    return False
