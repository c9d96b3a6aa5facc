"""Checkpoints of the Hugging Face hub: whether they can be had, and which files they have."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from study.errors import BackboneError
from study.storage.time_limit import call_within, cause_of_silence

ANSWERS_WITHIN = 4.0
"""How many seconds the hub may take to answer."""
PREPROCESSING = ("preprocessor_config.json", "processor_config.json")
"""The files that may say how images are prepared."""


@contextmanager
def transformers_quiet() -> Iterator[None]:
    """Let transformers show no bars and no warnings within the block, since errors say it all."""
    from transformers.utils import logging as transformers_logging

    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def refuse_unreachable(name: str, files: Sequence[str], revision: str | None) -> bool:
    """Raise if a hub's checkpoint is not on this machine and the hub is silent.

    Args:
        name: the checkpoint's name on the hub.
        files: the names of files of which every checkpoint has one.
        revision: branch, tag or commit.

    Returns:
        Whether the files of this machine must do, since the hub is silent.

    Raises:
        BackboneError: the checkpoint cannot be had; the message says how to bring it over.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils import HfHubHTTPError, HFValidationError

    try:
        call_within(ANSWERS_WITHIN, lambda: HfApi().model_info(name, revision=revision))
    except (HfHubHTTPError, HFValidationError):  # that it answers with is told once it is read
        return False
    except Exception as error:  # its library for HTTP has been another one before
        fault = cause_of_silence(error)
    else:
        return False
    if not any(cached(name, file, revision) for file in files):
        raise BackboneError(unreachable(name, revision, fault))
    return True


def unreachable(name: str, revision: str | None, fault: str) -> str:
    """Return the message that a checkpoint cannot be had from the hub, and how to bring it over."""
    from huggingface_hub import HfApi

    at = f" --revision {revision}" if revision else ""
    return (
        f"backbone '{name}' is no folder here and not in this machine's cache of the hub, and "
        f"{HfApi().endpoint} does not answer ({fault}). Bring it over: on a machine with network "
        f"`hf download {name}{at} --local-dir DIR` (or `huggingface-cli download`), then copy "
        "DIR here and set backbone.name=DIR"
    )


def cached(name: str, file: str, revision: str | None, *, locally: bool = True) -> str | None:
    """Return where a file of a checkpoint is, in a folder or in the cache of the hub, or None.

    Args:
        name: the checkpoint's name on the hub, or its folder.
        file: the name of the file.
        revision: branch, tag or commit.
        locally: whether the hub is not asked.
    """
    from transformers.utils import cached_file  # imports what takes a second

    return cached_file(
        name,
        file,
        revision=revision or "main",
        local_files_only=locally,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        _raise_exceptions_for_gated_repo=False,
    )


def lacks_preprocessing(
    name: str | Path, revision: str | None = None, *, locally: bool = True
) -> bool:
    """Return whether a checkpoint does not say how images are prepared for it.

    Args:
        name: the checkpoint's name on the hub, or its folder.
        revision: branch, tag or commit.
        locally: whether to look into this machine's cache of the hub alone, where the files are
            once the checkpoint was loaded.
    """
    if (folder := Path(name)).is_dir():
        return not any((folder / file).exists() for file in PREPROCESSING)
    return not any(cached(str(name), file, revision, locally=locally) for file in PREPROCESSING)
