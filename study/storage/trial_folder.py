"""The folder of one trial; the worker that runs the trial writes it, and the driver closes it."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from study.storage.atomic import (
    SUMS,
    Checksums,
    append_lines,
    make_folder,
    record_checksums,
    sha256_of,
    sync_folder,
    with_retries,
)
from study.storage.ledger_files import (
    LedgerError,
    LedgerFolder,
    collect_faults,
    json_bytes,
    parse_json,
)

Status = Literal["finished", "stopped", "failed"]
REPORTS, PREDICTIONS = "reports.jsonl", "predictions.parquet"
"""The names of a trial's files with its reports, and with its prediction of every test image."""
VALIDATION = "validation.parquet"
"""The name of a trial's file with its prediction of every validation image."""
KEPT = (REPORTS, "delta*.safetensors", PREDICTIONS, VALIDATION)
"""The names, or patterns of names, of a trial's files besides its configuration and its end."""

EARLIER_END = "earlier_end.json"
"""The name of a trial's file with how it had ended before it was reopened, until it ends again."""


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


class TrialFolder(LedgerFolder):
    """A trial's folder, ``trials/<trial_id>/``: configuration, reports, state, delta and end."""

    @property
    def _existing(self) -> Path:
        return self.path.parent

    @property
    def trial_id(self) -> str:
        """The trial's id, which is the folder's name."""
        return self.path.name

    def create(self, config: Mapping[str, Any]) -> None:
        """Make the folder and write the configuration; an existing trial keeps its own."""
        make_folder(self.path)
        if self.read("config.json") is None:
            self.write("config.json", json_bytes(config), recorded=True)

    def rename(self, trial_id: str, **changes: Any) -> None:
        """Rename the trial.

        Args:
            trial_id: the new id.
            **changes: further values of the configuration that change with it.
        """
        config = {**self.read_config(), "trial_id": trial_id, **changes}
        self.write("config.json", json_bytes(config), recorded=True)
        self.path = self.path.rename(self.path.with_name(trial_id))
        sync_folder(self.path.parent)

    def read_config(self) -> dict[str, Any]:
        """Return the trial's configuration.

        Raises:
            LedgerError: it is missing or damaged.
        """
        return parse_json(self.path / "config.json", self.read_required("config.json"))

    def read_reports(self) -> list[dict[str, Any]]:
        """Return the reports, in the order of the epochs, without a line that a crash cut short.

        Raises:
            LedgerError: they are damaged.
        """
        path = self.path / REPORTS
        reports = [parse_json(path, line) for line in self._report_lines()]
        if not all(isinstance(r, dict) and isinstance(r.get("epoch"), int) for r in reports):
            raise LedgerError(f"{path} is damaged: a line of it is no report")
        return reports

    def append_report(self, report: Mapping[str, Any], *, last: bool = False) -> None:
        """Append an epoch's report, and sync it to disk.

        Args:
            report: the report.
            last: whether it is the last one; the checksum of all reports is then recorded first.
        """
        line = json_bytes(report) + b"\n"
        if last:
            reports = {REPORTS: b"".join([*self._report_lines(), line])}
            record_checksums(self.path, reports, existing=self._existing)
        append_lines(self.path / REPORTS, line, existing=self._existing)

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
        sums["end.json"] = json_bytes(end)
        record_checksums(self.path, sums, existing=self._existing)
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
        changed = {name for name in names if not sums.matches(name, self.read(name))}
        looks: dict[str, Callable[[], object]] = {
            "config.json": self.read_config,
            REPORTS: self.read_reports,
            "end.json": self.read_end,
        }
        return sorted(changed | {name for name, look in looks.items() if collect_faults(look)})

    def reopen(self) -> None:
        """Delete all but the configuration and how the trial had ended; it is trained again."""
        with suppress(LedgerError):
            whole = Checksums(self.path).matches("end.json", self.read("end.json"))
            end = self.read_end() if whole else None
            if end is not None and end.status != "failed":
                # A trial that was taken from elsewhere says so as its reason, and trains now.
                reason = end.reason if end.status == "stopped" else None
                self.write(EARLIER_END, json_bytes(replace(end, reason=reason)))
        # Checksums last: after a crash in between, they reveal what is missing.
        for pattern in (*KEPT, "state.safetensors", "end.json", SUMS):
            for path in self.path.glob(pattern):
                path.unlink()
        config = self.read_config()
        changes = {"taken_from": None} if config.get("taken_from") else {}
        self.write("config.json", json_bytes({**config, **changes}), recorded=True)
