"""The folder of one trial: its worker writes the files, and the driver writes how it ended."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal

from study.storage.atomic import SUMS, Checksums, make_folder, whole_lines, with_retries
from study.storage.result_folder import (
    FolderError,
    JsonObject,
    ResultFolder,
    json_bytes,
    parse_json,
)

Status = Literal["finished", "stopped", "failed"]
REPORTS, END = "reports.jsonl", "end.json"
"""The names of a trial's files with its reports, and with how it ended."""
PREDICTIONS, VALIDATION = "predictions.parquet", "validation.parquet"
"""The names of its files with its prediction of every test image, and validation image."""
RESULT_FILES = (REPORTS, "delta*.safetensors", PREDICTIONS, VALIDATION)
"""The names, or patterns of names, of a trial's files besides its configuration and its end."""
STATE, EARLIER_END = "state.safetensors", "earlier_end.json"
"""The names of its files with the state from which it goes on, and with how it had ended before it
was reopened, until it ends again."""


@dataclass(frozen=True)
class End:
    """How a trial ended."""

    status: Status
    """``finished`` after all epochs, ``stopped`` early, or ``failed``."""
    epochs: int
    """The number of completed epochs."""
    seconds: float
    """The time of training and evaluation, summed over all workers of the trial."""
    reason: str | None = None
    """Why the trial was stopped or failed, in one line."""
    error: str | None = None
    """The traceback of a failed trial."""
    caused_by_settings: bool = False
    """Whether its own configuration made the trial fail; the search then avoids similar ones."""


class TrialFolder(ResultFolder):
    """A trial's folder, ``trials/<trial_id>/``: configuration, reports, state, delta and end."""

    @property
    def trial_id(self) -> str:
        """The trial's id, which is the folder's name."""
        return self.path.name

    def create(self, config: JsonObject) -> None:
        """Make the folder and write the configuration; an existing trial keeps its own."""
        make_folder(self.path)
        if self.read("config.json") is None:
            self.write_json("config.json", config)

    def read_config(self) -> JsonObject:
        """Return the trial's configuration; FolderError if it is missing."""
        contents = self.read_required("config.json")
        config: JsonObject = parse_json(self.path / "config.json", contents)
        return config

    def read_reports(self) -> list[JsonObject]:
        """Return the reports, in the order of the epochs, without a line that a crash cut short."""
        path = self.path / REPORTS
        lines = whole_lines(self.read(REPORTS) or b"").splitlines()
        reports = [parse_json(path, line) for line in lines]
        for report in reports:
            if not isinstance(report, dict) or not isinstance(report.get("epoch"), int):
                raise FolderError(f"{path} is damaged: a line is not a report")
        return reports

    def append_reports(self, *reports: JsonObject, last: bool = False) -> None:
        """Add the reports of some epochs; after the ``last``, record the checksum of all."""
        self.write_reports([*self.read_reports(), *reports], recorded=last)

    def write_reports(self, reports: Sequence[JsonObject], *, recorded: bool = False) -> None:
        """Replace the reports; if they are to be ``recorded``, write their checksum first."""
        lines = b"".join(json_bytes(report) + b"\n" for report in reports)
        self.write(REPORTS, lines, recorded=recorded)

    def reports_are_final(self) -> bool:
        """Return whether the reports match the checksum of them that the last epoch leaves."""
        checksums = Checksums(self.path)
        return REPORTS in checksums.names and checksums.matches(REPORTS, self.read(REPORTS))

    def read_end(self) -> End | None:
        """Return how the trial ended; None while it has not."""
        return self.read_record(END, End)

    def write_end(self, end: End, *, keep_state: bool = False) -> None:
        """Record how the trial ended, and delete the end before it was reopened.

        Args:
            end: how it ended.
            keep_state: whether to keep the state, by which a trial that was stopped can go on.
        """
        reports = self.read(REPORTS)
        if reports is not None:  # the other files were recorded as they were written
            self.write(REPORTS, reports, recorded=True)
        self.write_json(END, end)
        self._delete(EARLIER_END)
        if not keep_state:
            self.delete_state()

    def delete_state(self) -> None:
        """Delete the state of a trial that has ended; it cannot go on any more."""
        self._delete(STATE)

    def continue_from_state(self) -> None:
        """Let a trial that was stopped go on from its state, to its last epoch."""
        last = End("finished", self.read_config()["epochs"], 0.0)
        self._reopen(last, keep=(REPORTS, STATE))

    def has_finished(self) -> bool:
        """Return whether the trial ended after all its epochs."""
        end = self.read_end()
        return end is not None and end.status == "finished"

    def read_earlier_end(self) -> End | None:
        """Return how the trial had ended before it was reopened; None if that is not known."""
        with suppress(FolderError):
            return self.read_record(EARLIER_END, End)
        return None

    def damaged(self) -> list[str]:
        """Return the names of the damaged files, sorted.

        Of an unfinished trial, only the configuration counts: `study.search.checkpoints` restores
        the reports from the state, and the other files are written before the last report.
        """
        checksums = Checksums(self.path)
        names = ["config.json"]
        if (self.path / END).exists() or self.reports_are_final():
            names = sorted({*names, *checksums.names})
        return [name for name in names if not checksums.matches(name, self.read(name))]

    def reopen(self) -> None:
        """Delete all but the configuration and how the trial had ended; it is trained again.

        Its end is kept as `EARLIER_END`, unless it had failed.
        """
        end = None if END in self.damaged() else self.read_end()
        self._reopen(None if end and end.status == "failed" else end)

    def _reopen(self, end: End | None, keep: Sequence[str] = ()) -> None:
        """Delete the results of a trial; checksums last: they reveal what is missing."""
        if end:
            self.write(EARLIER_END, json_bytes(end))
        for name in (*RESULT_FILES, STATE, END, SUMS):
            if name not in keep:
                self._delete(name)
        self.write_json("config.json", self.read_config())

    def _delete(self, pattern: str) -> None:
        """Delete the files that match a pattern."""
        for path in with_retries(self.path, lambda: list(self.path.glob(pattern))):
            with_retries(path, partial(path.unlink, missing_ok=True))
