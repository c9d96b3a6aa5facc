"""Checkpoints of the Hugging Face hub: whether they are available, and which files they have."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from study.errors import BackboneError, first_cause
from study.storage.time_limit import call_within

ANSWERS_WITHIN = 4.0
"""How many seconds the hub may take to answer."""
PREPROCESSING = ("preprocessor_config.json", "processor_config.json")
"""The files that may say how images are prepared."""
CheckpointName = str | Path
"""The name of a checkpoint on the hub, or its folder."""


class Source(NamedTuple):
    """Where the files of a checkpoint are read from."""

    name: CheckpointName
    """The hub name or local folder."""
    revision: str | None = None
    """The branch, tag or commit on the hub; a folder has none."""
    locally: bool = True
    """Whether files are read from this machine alone, without asking the hub."""

    @property
    def options(self) -> dict[str, Any]:
        """The options by which transformers reads a file from here."""
        return {"revision": self.revision or "main", "local_files_only": self.locally}

    def find(self, *files: str) -> Path | None:
        """Return the path of the first of these files that is there; None if none is.

        It is in the folder, or in the hub's cache, which names a folder by its commit.
        """
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, GatedRepoError

        folder = Path(self.name)
        for file in files:
            if folder.is_dir():
                if (folder / file).is_file():
                    return folder / file
                continue
            # Where the hub cannot be asked, a file that is not in the cache is an entry not found.
            with suppress(EntryNotFoundError, GatedRepoError):
                return Path(hf_hub_download(str(self.name), file, **self.options))
        return None


@contextmanager
def silence_transformers() -> Iterator[None]:
    """Switch transformers' progress bars and warnings off within the block; errors say enough."""
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


def hub_fault(ask: Callable[[], object]) -> str | None:
    """Return why the hub does not answer a question; None if it does, be it by an error."""
    from huggingface_hub.utils import HfHubHTTPError, HFValidationError

    try:
        call_within(ANSWERS_WITHIN, ask)
    except (HfHubHTTPError, HFValidationError):
        return None
    except Exception as error:  # releases differ in their HTTP library and its errors
        cause = first_cause(error)
        return str(cause) or repr(cause)
    return None


def download_hint(name: str, revision: str | None, setting: str) -> str:
    """Return how to bring what is on the hub to a machine without network.

    Args:
        name: its name there, with options of the command that downloads it.
        revision: branch, tag or commit.
        setting: what to set then, where the folder is called DIR.
    """
    at = f" --revision {revision}" if revision else ""
    return (
        f"run `hf download {name}{at} --local-dir DIR` on a machine with internet access, copy DIR "
        f"here, and set {setting}"
    )


def must_read_locally(name: CheckpointName, files: Sequence[str], revision: str | None) -> bool:
    """Return whether the hub does not answer, so that a checkpoint is read from this machine alone.

    Args:
        name: the checkpoint's name on the hub.
        files: file names; every checkpoint has at least one of these files.
        revision: branch, tag or commit.

    Raises:
        BackboneError: the hub does not answer and the checkpoint is not on this machine; the
            message says how to copy it.
    """
    from huggingface_hub import HfApi

    fault = hub_fault(lambda: HfApi().model_info(str(name), revision=revision))
    if fault and not Source(name, revision).find(*files):
        raise BackboneError(format_unreachable(name, revision, fault))
    return fault is not None


def format_unreachable(name: CheckpointName, revision: str | None, fault: str) -> str:
    """Return the message that a checkpoint is not available, with a way to copy it here."""
    from huggingface_hub import HfApi

    return (
        f"backbone '{name}' is neither a folder nor in this machine's cache of the hub, and "
        f"{HfApi().endpoint} does not respond ({fault}). To download it elsewhere, "
        f"{download_hint(str(name), revision, 'backbone.name=DIR')}"
    )
