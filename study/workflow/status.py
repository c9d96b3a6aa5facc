"""The progress of a study, read from its folder alone, wherever the study runs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from study.method.parameters import kind_names
from study.selection.candidates import Judged, finished_trials
from study.selection.extension import extensions
from study.storage.ledger import TrialFolder
from study.trial.schema import TrialConfig
from study.trial.study import Study

RECENT_SECONDS = 120.0
"""A trial without an end that wrote a file within this time counts as running."""
SHOWN = 5
"""The number of failed trials, and of best trials, that are shown."""


@dataclass(frozen=True)
class Running:
    """A trial that has not ended."""

    trial_id: str
    subset: str
    epoch: int
    """The number of completed epochs."""
    epochs: int
    """The number of epochs of the full trial."""
    silent: float
    """The seconds since it last wrote a file."""


@dataclass(frozen=True)
class Failed:
    """A trial that failed."""

    trial_id: str
    epochs: int
    """The number of completed epochs."""
    cause: str


@dataclass(frozen=True)
class Status:
    """What a study has done, what is running, and its best trials."""

    study: str
    wanted: int
    """The configured number of trials of the search."""
    counts: dict[str, Counter[str]]
    """The number of trials by stage and by how they ended, or ``unfinished``."""
    running: tuple[Running, ...]
    failed: tuple[Failed, ...]
    best: tuple[Judged, ...]
    """The best finished trials of the search, by validation."""
    chosen: bool
    """Whether the choice is fixed, after which the test split may be read."""
    finished: bool
    extended: tuple[int, ...]
    """The number of trials of the search before each extension."""


def study_status(study: Study) -> Status:
    """Read the status of a study from its folder.

    Raises:
        LedgerError: a file of the study is damaged.
    """
    config, folder = study.config, study.folder
    counts: dict[str, Counter[str]] = {}
    running = []
    failed = []
    for trial in folder.trials():
        trial_config, end = TrialConfig.model_validate(trial.read_config()), trial.read_end()
        stage = counts.setdefault(trial_config.stage, Counter())
        stage[end.status if end else "unfinished"] += 1
        if end and end.status == "failed":
            failed.append(Failed(trial.trial_id, end.epochs, end.cause or ""))
        if end is None:
            reports = trial.read_reports()
            running.append(
                Running(
                    trial_id=trial.trial_id,
                    subset=trial_config.settings.subset,
                    epoch=reports[-1]["epoch"] if reports else 0,
                    epochs=trial_config.epochs,
                    # The clock of the machine that wrote may be ahead of this one's.
                    silent=max(0.0, time.time() - _last_written(trial)),
                )
            )
    return Status(
        study=folder.name,
        wanted=config.search.trials,
        counts=counts,
        running=tuple(running),
        failed=tuple(failed),
        best=tuple(finished_trials(folder)[:SHOWN]),
        chosen=study.candidates() is not None,
        finished=folder.is_complete(),
        extended=tuple(entry["from"] for entry in extensions(study)),
    )


def render_status(status: Status) -> RenderableType:
    """Return the status as lines and tables for a terminal."""
    parts: list[RenderableType] = [f"[bold]{status.study}[/]: {_where(status)}"]
    for stage, ended in status.counts.items():
        of = f" of {status.wanted}" if stage == "search" else ""
        ends = ", ".join(f"{n} {how}" for how, n in sorted(ended.items()))
        parts.append(f"{stage}: {sum(ended.values())}{of} trials: {ends}")
    if status.running:
        parts.append(_running_table(status.running))
    if status.failed:
        parts.append(_failed_table(status.failed))
    if status.best:
        parts.append(_best_table(status.best))
    return Group(*parts)


def _where(status: Status) -> str:
    if status.finished:
        return "finished"
    if any(trial.silent < RECENT_SECONDS for trial in status.running):
        return "confirms its choice on test" if status.chosen else "searches"
    return f"is not finished; if nothing runs it, --resume {status.study} goes on"


def _running_table(running: Sequence[Running]) -> Table:
    table = Table("unfinished", "epoch", "last wrote", "subset", box=None)
    for trial in running:
        table.add_row(
            trial.trial_id,
            f"{trial.epoch}/{trial.epochs}",
            f"{trial.silent:.0f} s ago",
            trial.subset,
        )
    return table


def _failed_table(failed: Sequence[Failed]) -> Table:
    table = Table("failed", "epochs", "cause", box=None)
    for trial in failed[-SHOWN:]:
        table.add_row(trial.trial_id, str(trial.epochs), Text(trial.cause))
    if len(failed) > SHOWN:
        table.add_row(f"and {len(failed) - SHOWN} before")
    return table


def _best_table(best: Sequence[Judged]) -> Table:
    table = Table("best so far", "validation %", "bias lr", "LN lr", "λ", "subset", box=None)
    for judged in best:
        own = judged.config.settings
        table.add_row(
            judged.config.trial_id,
            f"{100 * judged.val_score:.2f}",
            *(
                "" if (rate := own.rates.get(kind)) is None else f"{rate:.2g}"
                for kind in kind_names()
            ),
            f"{own.distill_weight:.2g}",
            own.subset,
        )
    return table


def _last_written(trial: TrialFolder) -> float:
    names = ("reports.jsonl", "config.json")
    paths = (trial.path / name for name in names)
    return max((path.stat().st_mtime for path in paths if path.exists()), default=0.0)
