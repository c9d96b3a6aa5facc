"""Configurations, studies and models, found by the names in a command line.

Nothing here takes long to import, so that an unknown name is reported at once.
"""

import contextlib
import difflib
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from study.config.shipped import FOLDERS, QUICKSTART
from study.config.yaml_values import parse_overrides
from study.errors import ConfigError, did_you_mean
from study.storage.command_lines import storage_folder
from study.storage.study_folder import StudyFolder, studies

REGISTERED = "models:"
"""The beginning of the address of a registered model."""
DELTA_SUFFIX = ".safetensors"
"""The end of the name of a file of tuned parameters."""
STORAGE = "storage="
"""The beginning of the word that names the folder of studies."""


def refuse_mistyped_command(word: str, commands: Collection[str]) -> None:
    """Raise if a word that is no command is nearly one, and no configuration either.

    Args:
        word: the first word of a command line.
        commands: the names of all commands.

    Raises:
        ConfigError: the message names the command that may be meant.
    """
    if word.startswith("-") or "=" in word or configuration_file(word):
        return
    meant = difflib.get_close_matches(word.lower(), [*commands, "--version"], n=1, cutoff=0.66)
    if meant:
        raise ConfigError(
            f"no command '{word}', and no configuration; did you mean `clipfit-study {meant[0]}`? "
            "clipfit-study --help lists the commands"
        )


def configuration_file(name: str) -> Path | None:
    """Return the path of a configuration, given as a path or as the name of a shipped one.

    A folder of configurations counts as one too. Return None if nothing has the name.
    """
    if not name:  # a folder for Path
        return None
    candidates = [Path(name)]
    for folder in FOLDERS:
        candidates += [folder / name, folder / f"{name}.yaml", folder.parent / name]
    for candidate in candidates:
        with contextlib.suppress(OSError):  # a name that no file can have
            if candidate.is_file() or (candidate.is_dir() and any(candidate.glob("*.yaml"))):
                return candidate
    return None


def find_config(name: str) -> Path:
    """Return the path of a configuration; see `configuration_file`.

    Raises:
        ConfigError: it does not exist; the message lists the shipped ones.
    """
    file = configuration_file(name)
    if file:
        return file
    shipped = sorted(
        path.relative_to(folder).with_suffix("").as_posix()
        for folder in FOLDERS
        for path in folder.rglob("*.yaml")
    )
    raise ConfigError(
        f"no configuration '{name}'{did_you_mean(name, shipped)}; by name there are "
        f"{', '.join(shipped)} (clipfit-study --help lists the commands)"
    )


def find_config_and_overrides(words: Sequence[str]) -> tuple[Path, list[str]]:
    """Return the configuration of new studies that words name, and the overrides among them.

    Raises:
        ConfigError: it does not exist, or there are several.
    """
    names, overrides = _split(words, most=1)
    parse_overrides(overrides)
    names.append(os.environ.get("STUDY_CONFIG") or QUICKSTART)
    return find_config(names[0]), overrides


def _split(words: Sequence[str], *, most: int) -> tuple[list[str], list[str]]:
    """Return the words that name configurations, and the overrides; refuse too many names."""
    names = [word for word in words if "=" not in word]
    if len(names) > most:
        raise ConfigError(
            f"one configuration at most, got {', '.join(names)}; a value is set by key=value, as "
            "in search.trials=40"
        )
    return names, [word for word in words if "=" in word]


def find_study_and_overrides(name: str, settings: Sequence[str]) -> tuple[StudyFolder, list[str]]:
    """Return the folder of a study, and the overrides of its settings.

    Args:
        name: see `find_study`.
        settings: words of the form ``key=value``; the storage may be among them.

    Raises:
        ConfigError: there is no such study, or a word is no override.
    """
    _, overrides = _split(settings, most=0)
    storage = parse_overrides(overrides).get("storage")
    return find_study(name, None if storage is None else str(storage)), overrides


def split_off_storage(words: Sequence[str]) -> tuple[list[str], str | None]:
    """Return words without ``storage=FOLDER``, and the folder, or None if it is not among them."""
    overrides = [word for word in words if word.startswith(STORAGE)]
    storage = parse_overrides(overrides).get("storage")
    if storage is not None:
        storage = str(storage)
    return [word for word in words if word not in overrides], storage


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


def is_file_or_address(word: str) -> bool:
    """Return whether a word names a model by a file or by an address of the registry."""
    if word.startswith(REGISTERED) or word.endswith(DELTA_SUFFIX):
        return True
    with contextlib.suppress(OSError):  # no file can have this name
        return Path(word).is_file()
    return False


def find_study_of_model(word: str, storage: str | Path | None = None) -> StudyFolder | None:
    """Return the study that a word names as a model; None if it is an address or a file.

    Raises:
        ConfigError: it is no address, no file and no study.
    """
    if is_file_or_address(word):
        return None
    try:
        return find_study(word, storage)
    except ConfigError as error:
        raise ConfigError(
            f"{error}. A model is a study, a registered model (models:/NAME/VERSION or "
            "models:/NAME@ALIAS) or a file of tuned parameters (delta.safetensors)"
        ) from None
