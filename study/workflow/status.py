"""How far a study is, read from its folder alone."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from rich.console import Console, Group, RenderableType

from study.process.terminal_table import TerminalTable, amount
from study.report.formatting import percent
from study.report.setting_descriptions import setting_cells, setting_header, tuned_in_words
from study.results.study_results import Results
from study.results.trial_results import TrialResult
from study.selection.chance import BALANCED, read_against_chance
from study.selection.extension import extensions
from study.storage.command_lines import resume_command
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import TrialFolder
from study.trial.study import Candidate, best_candidate

INTERRUPTED_STATE = "interrupted"
"""The state of a study that is not finished, and that no driver runs."""
STATES = {
    "finished": "finished",
    "searching": "running, in its search",
    "confirming": "running, and testing what its search chose",
    INTERRUPTED_STATE: "interrupted: it is not finished, and no process runs it",
}
"""What is said of a study in each of its states."""
BESIDE = "peers and variants"
"""What the trials of the search are called that stand outside ``search.trials``."""
IN_WORDS = {
    "confirm": "confirm (the test)",
    BESIDE: "beside the search (other methods, other heads and strengths)",
}
"""What is printed of groups of trials whose names say too little."""
TERMS = "lr: learning rate; LN: LayerNorm; λ: how firmly text features are held at CLIP’s"
"""What the abbreviations in the header of a table of configurations mean."""
SHOWN = 5
"""The number of failed trials, and of best trials, that are shown."""


@dataclass(frozen=True)
class Status:
    """What a study has done, what is running, and its best trials."""

    study: str
    state: str
    """One of the keys of `STATES`."""
    wanted: int | None
    """The configured number of trials of the search; None for an ablation, whose grids may grow."""
    extended: tuple[int, ...]
    """The number of trials of the search before each extension."""
    counts: Mapping[str, Mapping[str, int]]
    """The number of trials by stage and by how they ended, or ``unfinished``.

    Those of the search that do not count towards ``wanted`` are in `BESIDE`."""
    running: tuple[TrialResult, ...]
    silent: Mapping[str, float]
    """The seconds since each running trial last wrote a file, by its id."""
    failed: tuple[TrialResult, ...]
    best: tuple[TrialResult, ...]
    """The best finished trials of the search, by validation."""
    expected: float | None
    """What to expect of the best validation score, which is a maximum, a fraction; None before the
    choice, and where it cannot be known."""
    test_score: float | None
    """The mean test score of the choice, a fraction; None while nothing is chosen and tested."""
    balanced: float | None
    """The same with the mean recall of the classes for the accuracy."""
    told: tuple[str, ...]
    """What is said of these scores, in whole sentences."""


def study_status(results: Results) -> Status:
    """Return the status of a study."""
    folder, study = results.folder, results.study
    running = tuple(trial for trial in results.trials if trial.status == "running")
    # The clock of the machine that wrote may be ahead of this one's.
    silent = {
        trial.trial_id: max(0.0, time.time() - _last_written(folder.trial(trial.trial_id)))
        for trial in running
    }
    if folder.is_complete():
        state = "finished"
    elif folder.has_driver():
        state = "confirming" if results.candidates else "searching"
    else:
        state = INTERRUPTED_STATE
    choice = best_candidate(results.candidates)
    tested = results.confirmed(choice.same_as or choice.label) if choice else ()
    scores = [trial.test_score for trial in tested if trial.test_score is not None]
    balanced = [trial.test.get(BALANCED) for trial in tested]
    recalls = [score for score in balanced if score is not None]
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for trial in results.trials:
        beside = trial.stage == "search" and not study.config.search.counts_trial(
            trial.arm, trial.label
        )
        ended = trial.status.replace("running", "unfinished")
        counts[BESIDE if beside else trial.stage][ended] += 1
    return Status(
        study=folder.name,
        state=state,
        wanted=study.config.search.trials if study.config.ablation is None else None,
        extended=tuple(entry["from"] for entry in extensions(study)),
        counts={part: dict(ended) for part, ended in counts.items()},
        running=running,
        silent=silent,
        failed=tuple(trial for trial in results.trials if trial.status == "failed"),
        best=tuple(
            sorted(
                (trial for trial in results.stage("search") if trial.status == "finished"),
                key=lambda trial: (-(trial.val_score or 0), trial.trainable, trial.number),
            )[:SHOWN]
        ),
        expected=results.optimism.expected if results.optimism else None,
        test_score=fmean(scores) if scores else None,
        balanced=fmean(recalls) if recalls else None,
        told=tuple(_told(results, choice, scores, recalls)),
    )


def _told(
    results: Results,
    choice: Candidate | None,
    scores: Sequence[float],
    recalls: Sequence[float],
) -> Iterator[str]:
    """Yield what is said of the scores of the choice."""
    if choice is None:
        return
    optimism = results.optimism.of(choice.val_score) if results.optimism else ""
    if choice.val_score is not None:
        yield f"the choice: {percent(choice.val_score)} % on validation{optimism}"
    if scores:
        balanced = f", balanced {percent(fmean(recalls))} %" if recalls else ""
        doubt = ""
        known = read_against_chance(results.folder, choice.same_as or choice.label)
        if known is not None and not known.shown:
            doubt = f"; {known.doubt}"
        yield f"the choice: {percent(fmean(scores))} % on test{balanced}{doubt}"


def render_status(status: Status) -> RenderableType:
    """Return the status as lines and tables for a terminal."""
    parts: list[RenderableType] = [f"[bold]{status.study}[/]: {STATES[status.state]}"]
    for stage, ended in status.counts.items():
        trials = amount(sum(ended.values()), "trial")
        if stage == "search" and status.wanted is not None:
            trials = f"{sum(ended.values())} of {amount(status.wanted, 'trial')}"
        ends = ", ".join(f"{n} {how}" for how, n in sorted(ended.items()))
        parts.append(f"{IN_WORDS.get(stage, stage)}: {trials}: {ends}")
    parts += status.told
    running = [
        [
            trial.trial_id,
            f"{trial.epochs}/{trial.epochs_planned}",
            f"{status.silent[trial.trial_id]:.0f} s ago",
            tuned_in_words(trial.settings),
        ]
        for trial in status.running
    ]
    failed = [
        [trial.trial_id, str(trial.epochs), trial.reason or ""] for trial in status.failed[-SHOWN:]
    ]
    if (more := len(status.failed) - SHOWN) > 0:
        failed.append([f"and {more} before", "", ""])
    best = [
        [
            trial.trial_id,
            percent(trial.val_score, 2),
            *setting_cells(trial.settings),
            tuned_in_words(trial.settings),
        ]
        for trial in status.best
    ]
    tables = {
        ("unfinished", "epoch", "last wrote", "subset"): running,
        ("failed", "epochs", "cause"): failed,
        ("best trials", "validation %", *setting_header(), "subset"): best,
    }
    for header, rows in tables.items():
        if rows:
            parts += ["", plain_table(header, rows)]
    if best:
        parts.append(TERMS)
    return Group(*parts)


def plain_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> TerminalTable:
    """Return a table without lines for the terminal."""
    return TerminalTable(header, [*rows], words=len(header), lines=False)


def print_resume_commands(console: Console, interrupted: Sequence[StudyFolder]) -> None:
    """Print how to go on with studies, each command on an unbroken line of its own."""
    if not interrupted:
        return
    commands = [f"  {resume_command(folder.path)}" for folder in interrupted]
    lines = "\n".join(["to continue, run", *commands])
    console.print(lines, highlight=False, markup=False, soft_wrap=True)


def _last_written(trial: TrialFolder) -> float:
    paths = (trial.path / "reports.jsonl", trial.path / "config.json")
    return max((path.stat().st_mtime for path in paths if path.exists()), default=0.0)
