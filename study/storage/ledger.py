"""The files of one study: everything that was learned, on disk before it goes anywhere else.

``runs/<name>/`` holds the frozen configuration, the splits, a folder a trial and Optuna's journal.
MLflow, the tables and the report are views of it and can be made again. A trial's folder is
written by the worker that runs it and closed by the driver, so on a cluster ``runs`` lies on a
file system that all nodes share.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from study.errors import StudyError
from study.storage.atomic import (
    StorageError,
    append_lines,
    make_folder,
    read_if_there,
    sync_folder,
    with_retries,
    write_atomically,
)
from study.storage.checksums import FILE as SUMS
from study.storage.checksums import Checksums, record_checksums, sha256_of

Status = Literal["finished", "stopped", "failed"]
REPORTS = "reports.jsonl"
KEPT = (REPORTS, "delta*.safetensors", "per_class.json", "confusion.json")
"""What a trial leaves beside its configuration and its end."""


DESCRIPTION = "description.md"
"""What the study found, in short; it is written after everything else."""


FROM_A_COPY = "put it back from a copy; MLflow has one, the artifact {} of the study's own run"
"""What to do about a file that cannot be made again."""
DAMAGED = "is damaged: its SHA-256 is another than when it was written"


class LedgerError(StudyError):
    """A file of a study that is missing or damaged."""


@dataclass(frozen=True)
class End:
    """How a trial ended."""

    status: Status
    """finished: all its epochs; stopped: by successive halving; failed: see ``reason``."""
    epochs: int
    seconds: float
    """Of training and evaluation, over all workers that took part."""
    reason: str | None = None
    """In one line, why it was stopped or failed."""
    error: str | None = None
    """The traceback of a failed trial."""
    unfit: bool = False
    """It failed by what it is, and would again: the search is told that its region is bad."""

    @property
    def cause(self) -> str | None:
        """Why it was stopped or failed, also of a study from before failures had reasons."""
        if self.reason is None and self.error and (lines := self.error.strip().splitlines()):
            return lines[-1]  # of a traceback, what was raised
        return self.reason


@dataclass(frozen=True)
class Registration:
    """Where the winner stands in the model registry: ``registered.json``."""

    model: str
    """Name of the registered model."""
    version: str
    champion: bool
    """Whether the alias was given to this version."""
    reason: str
    """Why it was, or was not."""

    @property
    def uri(self) -> str:
        """The address that loads this version, as long as the registry has it."""
        return f"models:/{self.model}/{self.version}"


class TrialFolder:
    """``trials/<trial_id>/``: configuration, one report an epoch, state, delta, end."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def trial_id(self) -> str:
        """The folder's name."""
        return self.path.name

    def create(self, config: Mapping[str, Any]) -> None:
        """Write the configuration; an existing trial keeps its own."""
        make_folder(self.path)
        if self.read("config.json") is None:
            self._write_config(config)

    def rename(self, trial_id: str, **changes: Any) -> None:
        """Give the trial another name, and its configuration the changes that come with it."""
        config = {**self.config, "trial_id": trial_id, **changes}
        self._write_config(config)
        self.path = self.path.rename(self.path.with_name(trial_id))
        sync_folder(self.path.parent)

    @property
    def config(self) -> dict[str, Any]:
        """The configuration as written by `create`."""
        contents = self.read("config.json")
        if contents is None:
            raise LedgerError(f"{self.path / 'config.json'} is missing")
        return _parsed(self.path / "config.json", contents)

    @property
    def reports(self) -> list[dict[str, Any]]:
        """The reports so far, by epoch; a line that a crash cut short is left out."""
        path = self.path / REPORTS
        reports = [_parsed(path, line) for line in self._report_lines()]
        if not all(isinstance(r, dict) and isinstance(r.get("epoch"), int) for r in reports):
            raise LedgerError(f"{path} is damaged: a line of it is no report")
        return reports

    def append_report(self, report: Mapping[str, Any], *, last: bool = False) -> None:
        """Add one epoch, on disk when this returns; the last one after the sum of them all."""
        line = (_dumps(report) + "\n").encode()
        if last:
            contents = b"".join([*self._report_lines(), line])
            record_checksums(self.path, {REPORTS: contents}, known=self.path.parent)
        append_lines(self.path / REPORTS, line, known=self.path.parent)

    def keep_reports(self, count: int) -> None:
        """Drop all but the first ``count`` reports: a trial is taken up again after them."""
        self.write(REPORTS, b"".join(self._report_lines()[:count]))

    def reports_digest(self, count: int) -> str:
        """Return the SHA-256 of the first ``count`` reports, or of all where there are fewer."""
        return sha256_of(b"".join(self._report_lines()[:count]))

    @property
    def reports_are_final(self) -> bool | None:
        """Whether the reports are those that the last epoch left; None: it has left no sum."""
        sums = Checksums(self.path)
        return sums.matches(REPORTS, self.read(REPORTS)) if REPORTS in sums.names else None

    def _report_lines(self) -> list[bytes]:
        """Return the whole lines of reports, each with its end."""
        lines = (self.read(REPORTS) or b"").split(b"\n")[:-1]  # the last may have been cut
        return [line + b"\n" for line in lines if line]

    def replace_reports(self, reports: Iterable[Mapping[str, Any]]) -> None:
        """Write all reports at once, by epoch."""
        lines = [_dumps(report) + "\n" for report in reports]
        self.write(REPORTS, "".join(lines))

    @property
    def end(self) -> End | None:
        """How the trial ended; None while it has not."""
        contents = self.read("end.json")
        if contents is None:
            return None
        try:
            return End(**_parsed(self.path / "end.json", contents))
        except TypeError as error:
            raise LedgerError(f"{self.path / 'end.json'} is damaged: {error}") from error

    def write_end(self, end: End) -> None:
        """Close the trial; the state it would have gone on from is not needed any more."""
        contents = _dumps(asdict(end)).encode()
        files = [p.name for n in KEPT for p in sorted(self.path.glob(n)) if p.is_file()]
        sums = {name: self.read(name) or b"" for name in files} | {"end.json": contents}
        record_checksums(self.path, sums, known=self.path.parent)
        self.write("end.json", contents)
        state = self.path / "state.safetensors"
        with_retries(state, lambda: state.unlink(missing_ok=True))

    def damaged(self) -> list[str]:
        """Name the files that hold, or are, something else than was written.

        The reports of a trial that has not ended are judged by what it goes on from, see
        `study.search.recording`; here they need only parse.
        """
        sums = Checksums(self.path)
        names = sums.names if (self.path / "end.json").exists() else ["config.json"]
        found = {name for name in names if not sums.matches(name, self.read(name))}
        looks = {
            "config.json": lambda: self.config,
            REPORTS: lambda: self.reports,
            "end.json": lambda: self.end,
        }
        for name, look in looks.items():
            try:
                look()
            except LedgerError:
                found.add(name)
        return sorted(found)

    def reopen(self) -> None:
        """Take back all but the configuration, so that the trial is trained again."""
        # First what the sums miss, last the sums: a crash in between leaves a damaged trial.
        for pattern in (*KEPT, "state.safetensors", "end.json", SUMS):
            for path in self.path.glob(pattern):
                path.unlink()
        self._write_config(self.config)

    def write(self, name: str, contents: bytes | str) -> None:
        """Write a file of the trial, whole or not at all."""
        write_atomically(self.path / name, contents, known=self.path.parent)

    def read(self, name: str) -> bytes | None:
        """Read a file of the trial; None where it has not been written."""
        path = self.path / name
        return read_if_there(path, path.read_bytes, known=self.path.parent)

    def _write_config(self, config: Mapping[str, Any]) -> None:
        contents = _dumps(config).encode()
        record_checksums(self.path, {"config.json": contents}, known=self.path.parent)
        self.write("config.json", contents)


class StudyFolder:
    """``runs/<name>/``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """The study's name."""
        return self.path.name

    @property
    def config_path(self) -> Path:
        """The frozen configuration; a folder that has it is a study."""
        return self.path / "study.yaml"

    @property
    def exists(self) -> bool:
        """Whether a study was created here, even if its configuration was lost since."""
        trials = self.path / "trials"
        return self.config_path.exists() or (trials.is_dir() and any(self.trials()))

    def claim(self) -> None:
        """Make the folder of a new study, so that it can be locked before it is created."""
        with_retries(self.path, lambda: self.path.mkdir(parents=True, exist_ok=True))

    def create(self, config: str, identity: Mapping[str, Any]) -> None:
        """Make the folder of a new study, freeze its configuration, say where it comes from.

        Raises:
            LedgerError: a study of this name exists.
        """
        self.refuse_existing()
        self.claim()
        make_folder(self.path / "trials")
        self.write_json("identity.json", {"study_id": secrets.token_hex(8), **identity})
        self.write_config(config)
        sync_folder(self.path.parent)

    def write_config(self, config: str) -> None:
        """Freeze a configuration, with its sum; another one takes the place of the former."""
        name = self.config_path.name
        record_checksums(self.path, {name: config.encode()}, known=self.path)
        write_atomically(self.config_path, config, known=self.path)

    def refuse_existing(self) -> None:
        """Raise where a study of this name exists.

        Raises:
            LedgerError: naming what to do about it.
        """
        if self.exists:
            raise LedgerError(
                f"study '{self.name}' exists in {self.path.parent}; "
                f"go on with it by --resume {self.name}, or choose another name"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second driver out while this one runs; the lock dies with its process.

        Raises:
            LedgerError: another process runs this study.
            StorageError: the study's folder cannot be written.
        """
        path = self.path / ".lock"
        with with_retries(path, lambda: path.open("w")) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise LedgerError(
                    f"study '{self.name}' is being run by another process; wait for it to end"
                ) from error
            except OSError as error:
                raise StorageError(f"{path} cannot be locked: {error.strerror}") from error
            yield

    def refuse_damaged(self) -> None:
        """Raise where a study lacks what every command needs, and what no trial makes again.

        Raises:
            LedgerError: naming each file at fault, and what to do about it.
        """
        faults = []
        for look in (self._check_config, lambda: self.identity, self._check_trials):
            try:
                look()
            except LedgerError as error:
                faults.append(str(error))
        if faults:
            raise LedgerError("\n".join(faults))

    def _check_config(self) -> None:
        path = self.config_path
        contents = self._read(path)
        if contents is None or not Checksums(self.path).matches(path.name, contents):
            fault = "is missing" if contents is None else DAMAGED
            raise LedgerError(f"{path} {fault}; {FROM_A_COPY.format(path.name)}")

    def _check_trials(self) -> None:
        path = self.path / "trials"
        if not path.is_dir():
            fault = "is a file" if path.exists() else "is missing"
            raise LedgerError(
                f"{path} {fault}; it must be the folder of the study's trials: put it back from a "
                "copy"
            )

    @property
    def identity(self) -> dict[str, Any]:
        """A ``study_id`` that no other study has, and the versions that made it.

        Raises:
            LedgerError: it is missing or damaged.
        """
        name = "identity.json"
        advice = (
            f"{FROM_A_COPY.format(name)}. Without a copy, write study_id and git_commit, which "
            f"that run has as tags, as a JSON object into {name}, and take the lines that end in "
            f"{name} out of {self.path / SUMS}"
        )
        try:
            values = self.read_json(name)
        except LedgerError as error:
            raise LedgerError(f"{error}; {advice}") from error
        if not isinstance(values, dict) or "study_id" not in values:
            fault = "is missing" if values is None else "is damaged: it has no study_id"
            raise LedgerError(f"{self.path / name} {fault}; {advice}")
        return {"git_commit": "unknown", **values}

    @property
    def registration(self) -> Registration | None:
        """Where the winner is registered; None while it is not."""
        values = self.read_json("registered.json")
        try:
            return None if values is None else Registration(**values)
        except TypeError as error:
            raise LedgerError(f"{self.path / 'registered.json'} is damaged: {error}") from error

    def write_registration(self, registration: Registration) -> None:
        """Note where the winner is registered."""
        self.write_json("registered.json", asdict(registration))

    @property
    def complete(self) -> bool:
        """Whether the study ran to its end, and nothing was added or taken back since."""
        path = self.path / DESCRIPTION
        if read_if_there(path, path.stat, known=self.path) is None:
            return False
        return all(trial.end is not None for trial in self.trials())

    def take_back_conclusions(self) -> None:
        """Delete what was said of a study as a whole: it goes on."""
        for name in (DESCRIPTION, "registered.json", "candidates.json"):
            (self.path / name).unlink(missing_ok=True)

    def trial(self, trial_id: str) -> TrialFolder:
        """Give the folder of a trial, which may not exist yet."""
        return TrialFolder(self.path / "trials" / trial_id)

    def trials(self) -> Iterator[TrialFolder]:
        """Go through the trials that have a configuration, by name."""
        place = self.path / "trials"
        try:
            names = read_if_there(place, lambda: os.listdir(place), known=self.path)  # noqa: PTH208
        except NotADirectoryError:
            self._check_trials()
            raise
        for name in sorted(names or ()):
            config = place / name / "config.json"
            try:
                there = read_if_there(config, config.stat, known=place)
            except NotADirectoryError:  # a stray file among the folders
                continue
            if there is not None:
                yield TrialFolder(config.parent)

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file of the study, such as ``candidates.json``."""
        contents = (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
        record_checksums(self.path, {name: contents}, known=self.path)
        write_atomically(self.path / name, contents, known=self.path)

    def read_json(self, name: str) -> Any:
        """Read it back, or a JSON file of a trial; None where it has not been written.

        Raises:
            LedgerError: it holds something else than was written.
        """
        path = self.path / name
        contents = self._read(path)
        if contents is None:
            return None
        if not Checksums(path.parent).matches(path.name, contents):
            raise LedgerError(f"{path} {DAMAGED}")
        return _parsed(path, contents)

    def _read(self, path: Path) -> bytes | None:
        try:
            return with_retries(path, lambda: path.read_bytes() if path.exists() else None)
        except OSError as error:  # such as a folder in its place
            raise LedgerError(f"{path} cannot be read: {error.strerror}") from error

    def damaged(self) -> list[str]:
        """Name the JSON files of the study itself that hold something else than was written."""
        sums = Checksums(self.path)
        there = [name for name in sums.names if (self.path / name).exists()]
        return [name for name in there if not sums.matches(name, (self.path / name).read_bytes())]


def _dumps(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _parsed(path: Path, contents: bytes) -> Any:
    try:
        return json.loads(contents.decode())
    except ValueError as error:
        raise LedgerError(f"{path} is damaged: {error}") from error
