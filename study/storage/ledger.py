"""The files of one study; every result is written here before it goes anywhere else.

``runs/<name>/`` holds the frozen configuration, the splits, one folder per trial and Optuna's
journal. MLflow, the tables and the report are made from it and can be made again. The worker that
runs a trial writes the trial's folder, and the driver closes it. So on a cluster, ``runs`` must be
on a file system that all nodes share.
"""

import fcntl
import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from study.errors import StudyError
from study.storage.atomic import (
    SUMS,
    Checksums,
    StorageError,
    append_lines,
    make_folder,
    read_if_there,
    record_checksums,
    sha256_of,
    sweep,
    sync_folder,
    with_retries,
    write_atomically,
)
from study.storage.command_lines import resume_command
from study.storage.file_format import FORMAT, KEY, refuse_other_format

logger = logging.getLogger(__name__)

Status = Literal["finished", "stopped", "failed"]
LOCK = ".lock"
"""The name of the file that a driver locks."""
BRIEFLY = "briefly"
"""What a lock's file holds while it is held by what is soon over."""
BRIEFLY_SECONDS = 60.0
"""How long what is soon over is waited for."""
LOOK_SECONDS = 0.2
"""How long a driver waits at least, since whoever looks for one holds the lock for an instant."""
REPORTS, PREDICTIONS = "reports.jsonl", "predictions.parquet"
"""The names of a trial's files with its reports, and with its prediction of every test image."""
VALIDATION = "validation.parquet"
"""The name of a trial's file with its prediction of every validation image."""
KEPT = (REPORTS, "delta*.safetensors", PREDICTIONS, VALIDATION, "per_class.json", "confusion.json")
"""The names, or patterns of names, of a trial's files besides its configuration and its end.

Earlier versions kept two JSON files of counts in place of the predictions."""

EARLIER_END = "earlier_end.json"
"""The name of a trial's file with how it had ended before it was reopened, until it ends again."""

IDENTITY = "identity.json"
"""The name of the file with a study's id and what it is made with."""
CANDIDATES, CELLS, REGISTERED = "candidates.json", "cells.json", "registered.json"
"""The names of the files with the configurations to test, with an ablation's cells, and with the
winner's place in the model registry. Each can be made again from the trials."""
OPTIMISM, CHANCE = "optimism.json", "chance.json"
"""The names of the files with what to expect of the best validation score, and with what the tested
configurations score beside chance. Both are made from the trials."""
DESCRIPTION = "description.md"
"""The name of the summary of a study's results, which is written after everything else."""
CHAMPION = "champion"
"""The alias of the best version of a registered model."""
FROM_A_COPY = "; put it back from a copy; MLflow has one, the artifact {} of the study's own run"
"""The advice for a file that cannot be made again; ``{}`` stands for its name."""
MENDS_A_TRIAL = (
    "put the file back from a copy (MLflow has one in the run of a trial that has ended), or "
    "delete the folder of the trial that it belongs to, which is then made up for by another"
)
"""The advice for the configuration of a trial."""


class LedgerError(StudyError):
    """A fault of a study's folder, such as a missing or damaged file."""


@dataclass(frozen=True)
class End:
    """How a trial ended."""

    status: Status
    """``finished`` after all epochs, ``stopped`` by successive halving, or ``failed``."""
    epochs: int
    """The number of completed epochs."""
    seconds: float
    """The time of training and evaluation, summed over all workers of the trial."""
    reason: str | None = None
    """Why the trial was stopped or failed, in one line."""
    error: str | None = None
    """The traceback of a failed trial."""
    unfit: bool = False
    """Whether its own configuration made the trial fail; the search then avoids similar ones."""


@dataclass(frozen=True)
class Registration:
    """The winner's place in the model registry, as ``registered.json`` holds it."""

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

    def loading_line(self, *, lasting: bool = False) -> str:
        """Return the line of Python that loads the winner.

        Args:
            lasting: whether to name the version, since the alias may move to a later one.
        """
        address = f"models:/{self.model}@{CHAMPION}" if self.champion and not lasting else self.uri
        return f'mlflow.pyfunc.load_model("{address}").predict(["image.png"])'


class _Folder:
    """A folder of files that are written atomically."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def _known(self) -> Path:
        """A folder that is there before a file is written; see `with_retries`."""
        return self.path

    def read(self, name: str) -> bytes | None:
        """Return the contents of a file; None if it has not been written."""
        path = self.path / name
        return read_if_there(path, path.read_bytes, known=self.path.parent)

    def read_json(self, name: str, record: Callable[..., Any] | None = None) -> Any:
        """Return the value in a JSON file; None if the file has not been written.

        Args:
            name: the file's path below the folder.
            record: makes a record of the fields that the file holds; None means the value itself.

        Raises:
            LedgerError: the file is damaged.
        """
        contents = self.read(name)
        return None if contents is None else _parsed(self.path / name, contents, record)

    def read_needed(self, name: str, advice: str = "") -> bytes:
        """Return the contents of a file without which nothing can be done.

        Args:
            name: the file's name.
            advice: how to get it back, which ends the message.

        Raises:
            LedgerError: it is missing or damaged.
        """
        try:
            contents = self.read(name)
        except LedgerError as error:
            raise LedgerError(f"{error}{advice}") from error
        if contents is None:
            raise LedgerError(f"{self.path / name} is missing{advice}")
        return contents

    def write(self, name: str, contents: bytes | str, *, recorded: bool = False) -> None:
        """Write a file atomically, after its checksum if that is to be recorded."""
        data = contents.encode() if isinstance(contents, str) else contents
        if recorded:
            record_checksums(self.path, {name: data}, known=self._known)
        write_atomically(self.path / name, data, known=self._known)


class TrialFolder(_Folder):
    """A trial's folder, ``trials/<trial_id>/``: configuration, reports, state, delta and end."""

    @property
    def _known(self) -> Path:
        return self.path.parent

    @property
    def trial_id(self) -> str:
        """The trial's id, which is the folder's name."""
        return self.path.name

    def create(self, config: Mapping[str, Any]) -> None:
        """Make the folder and write the configuration; an existing trial keeps its own."""
        make_folder(self.path)
        if self.read("config.json") is None:
            self.write("config.json", _dumps(config), recorded=True)

    def rename(self, trial_id: str, **changes: Any) -> None:
        """Rename the trial.

        Args:
            trial_id: the new id.
            **changes: further values of the configuration that change with it.
        """
        config = {**self.read_config(), "trial_id": trial_id, **changes}
        self.write("config.json", _dumps(config), recorded=True)
        self.path = self.path.rename(self.path.with_name(trial_id))
        sync_folder(self.path.parent)

    def read_config(self) -> dict[str, Any]:
        """Return the trial's configuration.

        Raises:
            LedgerError: it is missing or damaged.
        """
        return _parsed(self.path / "config.json", self.read_needed("config.json"))

    def read_reports(self) -> list[dict[str, Any]]:
        """Return the reports, in the order of the epochs, without a line that a crash cut short.

        Raises:
            LedgerError: they are damaged.
        """
        path = self.path / REPORTS
        reports = [_parsed(path, line) for line in self._report_lines()]
        if not all(isinstance(r, dict) and isinstance(r.get("epoch"), int) for r in reports):
            raise LedgerError(f"{path} is damaged: a line of it is no report")
        return reports

    def append_report(self, report: Mapping[str, Any], *, last: bool = False) -> None:
        """Append an epoch's report, and sync it to disk.

        Args:
            report: the report.
            last: whether it is the last one; the checksum of all reports is then recorded first.
        """
        line = _dumps(report) + b"\n"
        if last:
            reports = {REPORTS: b"".join([*self._report_lines(), line])}
            record_checksums(self.path, reports, known=self._known)
        append_lines(self.path / REPORTS, line, known=self._known)

    def keep_reports(self, count: int) -> None:
        """Drop all but the first ``count`` reports, after which the trial continues."""
        self.write(REPORTS, b"".join(self._report_lines()[:count]))

    def reports_digest(self, count: int) -> str:
        """Return the SHA-256 of the first ``count`` reports, or of all if there are fewer."""
        return sha256_of(b"".join(self._report_lines()[:count]))

    def reports_are_final(self) -> bool | None:
        """Return whether the reports match the last epoch's checksum of them; None without one."""
        sums = Checksums(self.path)
        return sums.matches(REPORTS, self.read(REPORTS)) if REPORTS in sums.names else None

    def _report_lines(self) -> list[bytes]:
        """Return the whole lines of the reports, each with its line end."""
        lines = (self.read(REPORTS) or b"").split(b"\n")[:-1]  # the last may have been cut
        return [line + b"\n" for line in lines if line]

    def read_end(self) -> End | None:
        """Return how the trial ended; None while it has not.

        Raises:
            LedgerError: the file is damaged.
        """
        return self.read_json("end.json", End)

    def write_end(self, end: End) -> None:
        """Record how the trial ended, and delete what says from where and until when it goes on."""
        files = [p.name for n in KEPT for p in sorted(self.path.glob(n)) if p.is_file()]
        sums = {name: self.read(name) or b"" for name in files}
        sums["end.json"] = _dumps(end)
        record_checksums(self.path, sums, known=self._known)
        self.write("end.json", sums["end.json"])
        for path in (self.path / "state.safetensors", self.path / EARLIER_END):
            with_retries(path, partial(path.unlink, missing_ok=True))

    def read_earlier_end(self) -> End | None:
        """Return how the trial had ended before it was reopened.

        None means that it was not reopened or had failed, or that this is not known.
        """
        with suppress(LedgerError):
            return self.read_json(EARLIER_END, End)
        return None

    def damaged(self) -> list[str]:
        """Return the names of the damaged files, sorted.

        The reports of an unfinished trial need only parse here: `study.search.recording` compares
        them with the state from which the trial continues.
        """
        sums = Checksums(self.path)
        names = sums.names if (self.path / "end.json").exists() else ["config.json"]
        found = {name for name in names if not sums.matches(name, self.read(name))}
        looks: dict[str, Callable[[], object]] = {
            "config.json": self.read_config,
            REPORTS: self.read_reports,
            "end.json": self.read_end,
        }
        return sorted(found | {name for name, look in looks.items() if _faults(look)})

    def reopen(self) -> None:
        """Delete all but the configuration and how the trial had ended; it is trained again."""
        with suppress(LedgerError):
            whole = Checksums(self.path).matches("end.json", self.read("end.json"))
            end = self.read_end() if whole else None
            if end is not None and end.status != "failed":
                # A trial that was taken from elsewhere says so as its reason, and trains now.
                reason = end.reason if end.status == "stopped" else None
                self.write(EARLIER_END, _dumps(replace(end, reason=reason)))
        # Checksums last: after a crash in between, they reveal what is missing.
        for pattern in (*KEPT, "state.safetensors", "end.json", SUMS):
            for path in self.path.glob(pattern):
                path.unlink()
        config = self.read_config()
        changes = {"taken_from": None} if config.get("taken_from") else {}
        self.write("config.json", _dumps({**config, **changes}), recorded=True)


class StudyFolder(_Folder):
    """The folder of a study, ``runs/<name>/``."""

    @property
    def name(self) -> str:
        """The study's name."""
        return self.path.name

    @property
    def config_path(self) -> Path:
        """The path of the frozen configuration; a folder that has one is a study."""
        return self.path / "study.yaml"

    def exists(self) -> bool:
        """Return whether a study was created here, even if its configuration is lost since."""
        trials = self.path / "trials"
        return self.config_path.exists() or (trials.is_dir() and any(self.trials()))

    def claim(self) -> None:
        """Make the folder of a new study, so that it can be locked before `create`."""
        with_retries(self.path, lambda: self.path.mkdir(parents=True, exist_ok=True))

    def create(self, config: str, identity: Mapping[str, Any]) -> None:
        """Write the frozen configuration and the identity of a new study.

        Args:
            config: the configuration as YAML.
            identity: what the study is made with, such as versions.

        Raises:
            LedgerError: a study of this name exists.
        """
        self.refuse_existing()
        self.claim()
        make_folder(self.path / "trials")
        own = {KEY: FORMAT, "study_id": secrets.token_hex(8)}
        self.write_json(IDENTITY, {**own, **identity})
        self.write_config(config)
        sync_folder(self.path.parent)

    def write_config(self, config: str) -> None:
        """Write the frozen configuration and its checksum; an earlier configuration is replaced."""
        self.write(self.config_path.name, config, recorded=True)

    def refuse_existing(self) -> None:
        """Raise if a study of this name exists.

        Raises:
            LedgerError: it exists; the message says what to do about it.
        """
        if self.exists():
            raise LedgerError(
                f"study '{self.name}' exists in {self.path.parent}; choose another name, or go on "
                f"with it by this command\n    {resume_command(self.path)}"
            )

    @contextmanager
    def locked(self, *, briefly: bool = False) -> Iterator[None]:
        """Keep other drivers out during the block; the lock ends with its process.

        Args:
            briefly: whether it is soon over, so that others wait for its end.

        Raises:
            LedgerError: another process runs this study.
            StorageError: the study's folder cannot be written.
        """
        path = self.path / LOCK
        began = time.monotonic()
        with with_retries(path, lambda: path.open("a+")) as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    file.seek(0)
                    patience = BRIEFLY_SECONDS if file.read() == BRIEFLY else LOOK_SECONDS
                    if time.monotonic() - began > patience:
                        raise LedgerError(
                            f"study '{self.name}' is being run by another process; wait for it to "
                            "end"
                        ) from error
                    time.sleep(0.1)
                except OSError as error:
                    raise StorageError(f"{path} cannot be locked: {error.strerror}") from error
            with suppress(OSError):  # a disk that is full; then others do not wait
                file.truncate(0)
                file.write(BRIEFLY if briefly else "")
                file.flush()
            yield

    def has_driver(self) -> bool:
        """Return whether a process runs the study now, which its lock says.

        What holds the lock briefly, such as ``sync``, does not run it.
        """
        try:
            with (self.path / LOCK).open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return file.read() != BRIEFLY
        except OSError:  # no lock: nobody has run it yet, or on a disk that has no locks
            pass
        return False

    def refuse_damaged(self) -> None:
        """Raise if a file is damaged that every command needs and no trial makes again.

        Raises:
            LedgerError: files are missing or damaged; the message says what to do about each.
        """
        name = self.config_path.name
        if faults := _faults(
            lambda: self.read_needed(name, FROM_A_COPY.format(name)),
            self.read_identity,
            self._check_trials,
        ):
            raise LedgerError("\n".join(faults))

    def _check_trials(self) -> None:
        path = self.path / "trials"
        if not path.is_dir():
            raise LedgerError(
                f"{path} {'is a file' if path.exists() else 'is missing'}; it must be the folder "
                "of the study's trials: put it back from a copy"
            )

    def read_identity(self) -> dict[str, Any]:
        """Return the ``study_id``, which is of this study alone, and the versions it is made with.

        Raises:
            LedgerError: it is missing, damaged or of another format.
        """
        path = self.path / IDENTITY
        advice = (
            f"{FROM_A_COPY.format(IDENTITY)}. Without a copy, write {KEY}, which is {FORMAT}, and "
            "study_id and git_commit, which that run has as tags, as a JSON object into "
            f"{IDENTITY}, and take the lines that end in {IDENTITY} out of {self.path / SUMS}"
        )
        values = _parsed(path, self.read_needed(IDENTITY, advice), advice=advice)
        if not isinstance(values, dict) or "study_id" not in values:
            raise LedgerError(f"{path} is damaged: it has no study_id{advice}")
        refuse_other_format(path, values.get(KEY), LedgerError)
        return {"git_commit": "unknown", **values}

    def read_registration(self) -> Registration | None:
        """Return where the winner is registered; None while it is not.

        Raises:
            LedgerError: the file is damaged.
        """
        return self.read_json(REGISTERED, Registration)

    def is_complete(self) -> bool:
        """Return whether the study ran to its end, and no trial was added or reopened since."""
        path = self.path / DESCRIPTION
        return read_if_there(path, path.stat, known=self.path) is not None and all(
            trial.read_end() is not None for trial in self.trials()
        )

    def take_back_conclusions(self) -> None:
        """Delete the choice, the registration and the summary, because the study continues."""
        for name in (DESCRIPTION, REGISTERED, CHANCE, OPTIMISM, CANDIDATES):
            (self.path / name).unlink(missing_ok=True)

    def trial(self, trial_id: str) -> TrialFolder:
        """Return the folder of a trial, which may not exist yet."""
        return TrialFolder(self.path / "trials" / trial_id)

    @contextmanager
    def adding(self, trial_id: str) -> Iterator[TrialFolder]:
        """Make a trial's folder elsewhere during the block, and then move it to the others.

        So the study has all of the trial, or nothing. Only one process may add a trial.
        """
        made, target = TrialFolder(self.path / f".adding-{trial_id}"), self.trial(trial_id).path
        shutil.rmtree(made.path, ignore_errors=True)  # of a process that died
        make_folder(made.path)
        try:
            yield made
            with_retries(target, lambda: made.path.rename(target), known=target.parent)
            sync_folder(target.parent)
        finally:
            shutil.rmtree(made.path, ignore_errors=True)

    def trials(self) -> Iterator[TrialFolder]:
        """Yield the trials that have a configuration, sorted by name."""
        place = self.path / "trials"
        try:
            names = read_if_there(place, lambda: os.listdir(place), known=self.path)  # noqa: PTH208
        except NotADirectoryError:
            self._check_trials()
            raise
        for name in sorted(names or ()):
            config = place / name / "config.json"
            with suppress(NotADirectoryError):  # a stray file among the folders
                if read_if_there(config, config.stat, known=place) is not None:
                    yield TrialFolder(config.parent)

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file of the study, such as `CANDIDATES`; it may hold dataclasses."""
        contents = json.dumps(value, indent=2, ensure_ascii=False, default=asdict)
        self.write(name, f"{contents}\n", recorded=True)

    def read(self, name: str) -> bytes | None:
        """Return the contents of a file, checked; arguments and errors are those of `read_json`."""
        path = self.path / name
        try:
            contents = super().read(name)
        except OSError as error:  # such as a folder in the place of the file
            raise LedgerError(f"{path} cannot be read: {error.strerror}") from error
        if contents is not None and not Checksums(path.parent).matches(path.name, contents):
            raise LedgerError(f"{path} is damaged: its SHA-256 is another than when it was written")
        return contents


def studies(storage: Path) -> list[StudyFolder]:
    """Return the studies in a folder, sorted by name; a name with a leading dot is none."""
    return [folder for folder in map(StudyFolder, sorted(storage.glob("[!.]*"))) if folder.exists()]


def _dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, default=asdict).encode()


def _parsed(
    path: Path, contents: bytes, record: Callable[..., Any] | None = None, advice: str = ""
) -> Any:
    """Return the value in the JSON of a file, or the record that has its values.

    Raises:
        LedgerError: it is no JSON, or has other values than the record; `advice` ends the message.
    """
    try:
        value = json.loads(contents.decode())
        return record(**value) if record else value
    except (TypeError, ValueError) as error:
        raise LedgerError(f"{path} is damaged: {error}{advice}") from error


def _faults(*looks: Callable[[], object]) -> list[str]:
    """Return the faults of a study's folder that looks at its files find."""
    faults = []
    for look in looks:
        try:
            look()
        except LedgerError as error:
            faults.append(str(error))
    return faults


def repair(folder: StudyFolder) -> None:
    """Delete the damaged files that can be made again; a damaged trial is trained again.

    The tables and the report are rewritten at the end of a study in any case. Optuna's journal is
    repaired when the search continues.

    Raises:
        LedgerError: files are damaged that cannot be made again; the message names them.
    """
    folder.refuse_damaged()
    for path in folder.path.glob(".adding-*"):  # of a process that died
        shutil.rmtree(path, ignore_errors=True)
    sweep(folder.path)
    faults: list[str] = []
    sums = Checksums(folder.path)
    for name in sums.names:
        path = folder.path / name
        if not path.exists() or sums.matches(name, path.read_bytes()):
            continue
        if name in (CANDIDATES, CELLS, OPTIMISM, CHANCE, REGISTERED):
            logger.warning("%s is damaged, and made again from the trials", path)
            path.unlink(missing_ok=True)
        else:
            faults.append(f"damaged: {path}; put it back from a copy")
    for trial in folder.trials():
        damaged = trial.damaged()
        if "config.json" in damaged:
            faults.append(f"damaged: {trial.path / 'config.json'}; {MENDS_A_TRIAL}")
        elif damaged:
            logger.warning(
                "%s of %s damaged; the trial is trained again", ", ".join(damaged), trial.path
            )
            trial.reopen()
    for path in sorted((folder.path / "trials").iterdir()):
        config, results = path / "config.json", (path / "end.json", path / REPORTS)
        if not config.exists() and any(file.exists() for file in results):
            faults.append(f"lost: {config}; {MENDS_A_TRIAL}")
    if faults:
        raise LedgerError("\n".join(faults))
