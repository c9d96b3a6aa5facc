"""Configurations, studies and models, found by the names in a command line.

Names are looked for before anything slow is imported, so that an unknown one is reported at once.
"""

import contextlib
import os
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.config.yaml_values import parse_overrides
from study.errors import ConfigError, did_you_mean
from study.storage.command_lines import storage_folder
from study.storage.study_folder import StudyFolder, studies

if TYPE_CHECKING:
    from study.config.schema import StudyConfig
    from study.serving.saved_model import SavedModel
    from study.trial.study import Study

CONFIGS = Path(__file__).parents[1] / "configs"
"""The folder of the built-in configurations: in the package, or beside it in a checkout."""
if not CONFIGS.is_dir():
    CONFIGS = Path(__file__).parents[2] / "configs"


def built_in_file(name: str) -> Path:
    """Return the file of a built-in configuration."""
    return CONFIGS / f"{name}.yaml"


def find_config(name: str, others: Sequence[str] = ()) -> Path:
    """Return the path of a configuration: a path, a folder of them, or the name of a built-in one.

    Args:
        name: the path or the name.
        others: what else the name may mean, mistyped, such as a command.

    Raises:
        ConfigError: it does not exist; the message lists the built-in ones.
    """
    for candidate in (Path(name), CONFIGS / name, built_in_file(name), CONFIGS.parent / name):
        with contextlib.suppress(OSError):  # a name that no file can have
            is_sweep = candidate.is_dir() and any(candidate.glob("*.yaml"))
            if name and (candidate.is_file() or is_sweep):  # no name is a folder for Path
                return candidate
    files = sorted(CONFIGS.rglob("*.yaml"))
    built_in = [file.relative_to(CONFIGS).with_suffix("").as_posix() for file in files]
    meant = did_you_mean(name.lower(), [*others, *built_in])
    raise ConfigError(
        f"'{name}' is neither a command nor a configuration{meant}; clipfit-study --help lists the "
        f"commands; configurations are {', '.join(built_in)}"
    )


def find_config_and_overrides(words: Sequence[str]) -> tuple[Path, list[str]]:
    """Return the configuration of new studies that words name, and the overrides among them.

    Raises:
        ConfigError: it does not exist, or there are several.
    """
    names = [word for word in words if "=" not in word]
    overrides = [word for word in words if "=" in word]
    file = find_config(names[0] if names else os.environ.get("STUDY_CONFIG") or "quickstart")
    if len(names) > 1:
        raise ConfigError(
            f"got several configurations ({', '.join(names)}), expected one; set values by "
            "key=value, such as search.trials=40"
        )
    parse_overrides(overrides)
    return file, overrides


def find_study(name: str, storage: str | Path | None = None) -> StudyFolder:
    """Return the folder of a study.

    Args:
        name: the study's name in the storage, or the path to its folder.
        storage: the folder of studies; None means ``$STUDY_STORAGE``, or else ``runs``.

    Raises:
        ConfigError: the study does not exist, and the message lists those in the storage; or the
            storage is a file.
    """
    storage = storage_folder(storage)
    names = []
    with contextlib.suppress(OSError, ValueError, RuntimeError):  # no folder can have this name
        for path in (storage / name, Path(name).expanduser().resolve()):
            folder = StudyFolder(path)
            if folder.exists():
                return folder
        names = [folder.name for folder in studies(storage)]
    listing = "there are none"
    if names:
        listing = f"studies there: {', '.join(map(repr, names))}"
    raise ConfigError(
        f"no study '{name}' in {storage}{did_you_mean(name, names)}; {listing} (storage=FOLDER "
        "looks elsewhere)"
    )


@contextlib.contextmanager
def find_model(word: str, storage: str | Path | None = None) -> Iterator["SavedModel"]:
    """Yield the model that a command names, which can be loaded during the block.

    Args:
        word: a study's name or folder, the address of a registered model, or the path of a delta.
        storage: see `find_study`.

    Raises:
        StudyError: there is no such model, or the study has no best configuration.
    """
    folder, is_registered = None, word.startswith("models:")
    is_file = word.endswith(".safetensors") or os.path.isfile(word)  # noqa: PTH113 -- no error
    if not (is_registered or is_file):
        try:
            folder = find_study(word, storage)
        except ConfigError as error:
            raise ConfigError(
                f"{error}. A model is a study, a registered model (models:/NAME/VERSION or "
                "models:/NAME@ALIAS) or a file of tuned parameters (delta.safetensors)"
            ) from None
    from study.serving.saved_model import read_best_model, read_saved_model

    if folder:
        yield read_best_model(load_study(folder))
    elif is_registered:
        from study import tracking

        with tempfile.TemporaryDirectory(prefix="clipfit-model-") as scratch:
            yield tracking.download_model(word, Path(scratch))
    else:
        yield read_saved_model(Path(word))


def load_study(folder: StudyFolder, overrides: Sequence[str] = ()) -> "Study":
    """Return the study of a folder, with overrides of settings that may change.

    Its storage is where the folder is now.

    Raises:
        FolderError: a file that every command needs is missing or damaged.
        ConfigError: an override is invalid, or would change results.
    """
    from study.config.loading import load_config
    from study.trial.study import Study

    folder.refuse_damaged()
    frozen = load_config(folder.config_path, frozen=True)
    config = load_config(folder.config_path, overrides, frozen=True)
    refuse_changed_results(frozen, config, folder)
    storage = folder.path.parent.absolute()
    return Study(config.model_copy(update={"storage": storage}), folder)


def refuse_changed_results(
    frozen: "StudyConfig",
    config: "StudyConfig",
    folder: StudyFolder,
    *,
    besides: Collection[str] = (),
) -> None:
    """Refuse a configuration of a study that exists, if it would give other results.

    Args:
        frozen: the configuration of the study.
        config: the configuration that is to replace it.
        folder: the folder of the study.
        besides: further keys that may differ.

    Raises:
        ConfigError: settings differ; the message has each with both values.
    """
    from study.config.schema import WITHOUT_EFFECT
    from study.config.yaml_text import short_repr

    before, after = (dict(_values_of(one.model_dump(mode="json"))) for one in (frozen, config))
    changes = [
        f"{key}: the study has {short_repr(before.get(key))}, got {short_repr(after.get(key))}"
        for key in before | after
        if before.get(key) != after.get(key)
        and not key.startswith(("storage", *WITHOUT_EFFECT))
        and key not in besides
    ]
    if changes:
        lines = [
            f"study '{folder.name}' exists with another configuration; only resources and tracking "
            "may change, and search.trials, search.minutes and final.images by clipfit-study "
            "extend; use another name for another study. These values differ:"
        ]
        raise ConfigError("\n  ".join(lines + changes))


def _values_of(section: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each dotted key of a section with its value."""
    for name, value in section.items():
        if isinstance(value, dict):
            yield from _values_of(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
