"""The files of one study; every result is written here before it goes anywhere else.

``runs/<name>/`` holds the frozen configuration, the splits and one folder per trial. Trackers,
tables, Optuna's journal and the report are made from these files, and can be made again. The
worker that runs a trial writes the trial's folder, and the driver writes how the trial ended. So on
a cluster, ``runs`` must be on a file system that all nodes share.
"""

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from study.storage.atomic import (
    SUMS,
    Checksums,
    StorageError,
    make_folder,
    read_if_exists,
    sync_folder,
    with_retries,
)
from study.storage.command_lines import study_command
from study.storage.new_folders import new_folder, refuse_taken
from study.storage.result_folder import (
    FORMAT,
    KEY,
    FolderError,
    JsonObject,
    ResultFolder,
    parse_json,
    refuse_other_format,
)
from study.storage.trial_folder import TrialFolder

LOCK = ".lock"
"""The name of the file that a driver locks."""
LOCK_SECONDS = 2.0
"""The seconds to wait for the lock; `StudyFolder.has_driver` holds it for an instant."""
IDENTITY = "identity.json"
"""The name of the file with a study's id and the versions that it was made with."""
CANDIDATES, CELLS = "candidates.json", "cells.json"
"""The names of the files with the configurations to test, and with an ablation's cells."""
CHANCE, REGISTERED = "chance.json", "registered.json"
"""The names of the files with the comparison of the tested configurations with chance, and with the
best configuration's address in the model registry."""
REMADE = (CANDIDATES, CELLS, CHANCE, REGISTERED)
"""The names of the files that can be made again from the trials."""
DESCRIPTION = "description.md"
"""The name of the summary of a study's results; it is the last file that a study writes."""
CHAMPION = "champion"
"""The alias of the best version of a registered model."""


@dataclass(frozen=True)
class Registration:
    """The best configuration's address in the model registry, as ``registered.json`` holds it."""

    model: str
    """The name of the registered model."""
    version: str
    """The version of the model."""
    champion: bool
    """Whether the alias ``champion`` was given to this version."""
    reason: str
    """Why the alias was or was not given."""

    @property
    def uri(self) -> str:
        """The address from which MLflow loads this version."""
        return f"models:/{self.model}/{self.version}"

    @property
    def address(self) -> str:
        """The address by the alias, which may move to a later version; if it has none, `uri`."""
        if self.champion:
            return f"models:/{self.model}@{CHAMPION}"
        return self.uri

    @property
    def loading_line(self) -> str:
        """The line of Python that loads this version; the alias may move to a later one."""
        return f'mlflow.pyfunc.load_model("{self.uri}").predict(["image.png"])'


class StudyFolder(ResultFolder):
    """The folder of a study, ``runs/<name>/``."""

    @property
    def name(self) -> str:
        """The study's name."""
        return self.path.name

    @property
    def config_path(self) -> Path:
        """The path of the frozen configuration."""
        return self.path / "study.yaml"

    def exists(self) -> bool:
        """Return whether a study was created here, even if its configuration is lost since."""
        return (self.path / IDENTITY).exists() or (
            self.config_path.exists() and any((self.path / "trials").glob("*/config.json"))
        )

    def create(self, config: str, identity: JsonObject) -> None:
        """Write the frozen configuration and the identity of a new study.

        The folder appears whole, so a process that is killed meanwhile leaves none, and of two that
        create it at once one fails.

        Args:
            config: the configuration as YAML.
            identity: the versions and files that the study is made with.

        Raises:
            FolderError, StorageError: see `refuse_existing`.
        """
        self.refuse_existing()
        with new_folder(self.path) as temporary:
            make_folder(temporary)
            make_folder(temporary / "trials")
            folder = StudyFolder(temporary)
            folder.write_config(config)
            format_and_id = {KEY: FORMAT, "study_id": secrets.token_hex(8)}
            folder.write_json(IDENTITY, format_and_id | dict(identity))
        sync_folder(self.path.parent)

    def refuse_existing(self) -> None:
        """Raise unless a new study may have this folder: there is none, or it is empty.

        Raises:
            FolderError: a study of this name exists; the message says what to do about it.
            StorageError: the folder has contents that are no study's, or it is not a folder.
        """
        if self.exists():
            raise FolderError(
                f"study '{self.name}' already exists in {self.path.parent}; use another name, or "
                f"continue it:\n    {study_command('resume', self.path)}"
            )
        refuse_taken(self.path)

    def remove_if_unused(self) -> None:
        """Remove a new study without trials; what it did not make stays."""
        if any((self.path / "trials").glob("*")):
            return
        with suppress(OSError):  # the error of the study is the one to raise
            unrecorded = ("trials", "shots", "tune", "optuna.journal", SUMS, LOCK)
            for name in (*Checksums(self.path).names, *unrecorded):
                path = self.path / name
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
            self.path.rmdir()

    def write_config(self, config: str) -> None:
        """Write the frozen configuration and its checksum; an earlier configuration is replaced."""
        self.write(self.config_path.name, config.encode(), recorded=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out during the block; the lock ends with its process.

        Raises:
            FolderError: another process runs this study, or sends it to a tracker.
            StorageError: the study's folder cannot be written.
        """
        path = self.path / LOCK
        deadline = time.monotonic() + LOCK_SECONDS
        with with_retries(path, lambda: path.open("a")) as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    if time.monotonic() > deadline:
                        raise FolderError(
                            f"study '{self.name}' is running in another process; wait until it ends"
                        ) from error
                    time.sleep(0.1)
                except OSError as error:
                    raise StorageError(f"{path} cannot be locked: {error.strerror}") from error
            yield

    def has_driver(self) -> bool:
        """Return whether a process runs the study, or sends it to a tracker."""
        # No process may have run it yet, and then it has no lock; a disk may have none either.
        with suppress(OSError), (self.path / LOCK).open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def refuse_damaged(self) -> None:
        """Raise if files that every command needs, and that cannot be made again, are damaged.

        Raises:
            FolderError: one is missing or damaged; the message says what to do about it.
            FormatError: the study is of another format.
        """
        try:
            self.read_identity()
            self.read_required(self.config_path.name)
            if not (self.path / "trials").is_dir():
                raise FolderError(f"{self.path / 'trials'} is missing or not a folder")
        except FolderError as error:
            raise FolderError(f"{error}; restore it from a backup") from error

    def read_identity(self) -> JsonObject:
        """Return the unique ``study_id``, and the versions that the study was made with.

        Raises:
            FormatError: the study is of another format.
        """
        path = self.path / IDENTITY
        values = parse_json(path, self.read_required(IDENTITY))
        if not isinstance(values, dict) or "study_id" not in values:
            raise FolderError(f"{path} is damaged: it has no study_id")
        refuse_other_format(path, values.get(KEY))
        return values

    def read_registration(self) -> Registration | None:
        """Return the best configuration's address in the model registry; None while it has none."""
        return self.read_record(REGISTERED, Registration)

    def is_complete(self) -> bool:
        """Return whether the study ran to its end, and no trial was added or reopened since."""
        return (
            self.exists()  # a folder that is missing is no reason to wait for storage
            and self.read(DESCRIPTION) is not None
            and all(trial.read_end() for trial in self.trials())
        )

    def mark_incomplete(self, *, candidates: bool = True) -> None:
        """Delete what the end of a study wrote, because the study continues.

        Args:
            candidates: whether candidates are chosen anew.
        """
        for name in (DESCRIPTION, REGISTERED, *((CHANCE, CANDIDATES) if candidates else ())):
            (self.path / name).unlink(missing_ok=True)

    def trial(self, trial_id: str) -> TrialFolder:
        """Return the folder of a trial, which may not exist yet."""
        return TrialFolder(self.path / "trials" / trial_id)

    def trials(self) -> Iterator[TrialFolder]:
        """Yield the trials that have a configuration, sorted by name."""
        folder = self.path / "trials"
        names = read_if_exists(folder, lambda: os.listdir(folder), existing=self.path)  # noqa: PTH208
        for name in sorted(names or ()):
            config = folder / name / "config.json"
            # A stray file among the folders has none.
            if read_if_exists(config, config.stat, existing=folder) is not None:
                yield TrialFolder(config.parent)

    def trials_of(self, *stages: str) -> Iterator[tuple[TrialFolder, JsonObject]]:
        """Yield the trials of some stages, each with its configuration, sorted by name."""
        for trial in self.trials():
            config = trial.read_config()
            if config["stage"] in stages:
                yield trial, config

    def read(self, name: str) -> bytes | None:
        """Return the contents of a file, which match its checksum; None if it is not written."""
        contents = super().read(name)
        path = self.path / name
        if contents is not None and not Checksums(path.parent).matches(path.name, contents):
            raise FolderError(f"{path} is damaged: its checksum (SHA-256) has changed")
        return contents


def studies(storage: Path) -> list[StudyFolder]:
    """Return the studies in a folder, sorted by name; folders with a leading dot do not count."""
    folders = [StudyFolder(path) for path in sorted(storage.glob("[!.]*"))]
    return [folder for folder in folders if folder.exists()]
