"""The status of a study, read from its folder alone."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType

from study.process.terminal_table import TerminalTable, amount, print_unwrapped
from study.report.formatting import percent
from study.report.setting_descriptions import setting_cells, setting_header, tuned_in_words
from study.results.best_configuration import TEST_BALANCED, extensions, read_best
from study.results.chance import AgainstChance
from study.results.study_result import StudyResult
from study.results.trial_results import TrialResult
from study.storage.command_lines import study_command
from study.storage.study_folder import StudyFolder

Trials = Sequence[TrialResult]
"""Trials of a study, such as those that run."""
STATES = {
    "finished": "finished",
    "searching": "running, in its search",
    "testing": "running, and testing what its search chose",
    "interrupted": "interrupted: it is not finished, and no process runs it",
}
"""The states of a study, and what they mean."""
INTERRUPTED = "interrupted"
"""The state of a study that is not finished, and that no driver runs."""
OUTSIDE = "other methods"
"""The name of the group of search trials that do not count towards ``search.trials``."""
TERMS = "lr: learning rate; LN: LayerNorm; λ: how firmly text features are held at CLIP’s"
"""The meaning of the abbreviations in the header of a table of configurations."""
MOST_TRIALS = 5
"""The largest number of failed trials, and of best trials, to print."""


@dataclass(frozen=True)
class Status:
    """What a study has done, what is running, and its best trials."""

    study: str
    state: str
    """One of `STATES`."""
    wanted: int | None
    """The configured number of trials of the search; None for an ablation."""
    extended: Sequence[int]
    """The number of trials of the search before each extension."""
    counts: Mapping[str, Mapping[str, int]]
    """The number of trials by stage and by how they ended, or ``unfinished``.

    Those of the search that do not count towards ``wanted`` are in `OUTSIDE`."""
    running: Trials
    silent: Mapping[str, float]
    """The seconds since each running trial last wrote a file, by its id."""
    failed: Trials
    best: Trials
    """The best finished trials of the search, by validation."""
    val_score: float | None
    """The validation score of the best configuration; None while nothing is chosen."""
    test_score: float | None
    """Its mean test score, a fraction; None while nothing is tested."""
    balanced: float | None
    """The same score with the mean recall of the classes in place of the accuracy."""
    against_chance: AgainstChance | None
    """Its test score beside that of guessing; None while that is not known."""


def study_status(results: StudyResult) -> Status:
    """Return the status of a study."""
    folder = results.folder
    config = results.config
    running = [trial for trial in results.each_trial if trial.status == "running"]
    silent = {}
    for trial in running:
        # The clock of the machine that wrote may be ahead of this one's.
        path = folder.trial(trial.trial_id).path
        files = [path / name for name in ("reports.jsonl", "config.json")]
        last_written = max((file.stat().st_mtime for file in files if file.exists()), default=0.0)
        silent[trial.trial_id] = max(0.0, time.time() - last_written)
    finished = [trial for trial in results.stage("search") if trial.status == "finished"]
    finished.sort(key=lambda trial: (-(trial.val_score or 0), trial.trainable, trial.number))
    choice = read_best(results.study)
    test_scores = choice.test_scores if choice else {}
    wanted = None
    if not config.ablation:
        wanted = config.search.trials
    return Status(
        study=folder.name,
        state=_state(results),
        wanted=wanted,
        extended=[entry["from"] for entry in extensions(results.study)],
        counts=_count_trials(results),
        running=running,
        silent=silent,
        failed=[trial for trial in results.each_trial if trial.status == "failed"],
        best=finished[:MOST_TRIALS],
        val_score=choice.candidate.val_score if choice else None,
        test_score=test_scores.get("test_score"),
        balanced=test_scores.get(TEST_BALANCED),
        against_chance=choice.against_chance if choice else None,
    )


def _state(results: StudyResult) -> str:
    if results.is_complete:
        return "finished"
    if not results.folder.has_driver():
        return INTERRUPTED
    if results.candidates:
        return "testing"
    return "searching"


def _count_trials(results: StudyResult) -> dict[str, dict[str, int]]:
    search = results.config.search
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for trial in results.each_trial:
        group: str = trial.stage
        if trial.stage == "search" and not search.counts_trial(trial.group, trial.label):
            group = OUTSIDE
        counts[group][trial.status.replace("running", "unfinished")] += 1
    return {group: dict(ends) for group, ends in counts.items()}


def render_status(status: Status) -> RenderableType:
    """Return the status as lines and tables for a terminal."""
    lines: list[RenderableType] = [f"{status.study}: {STATES[status.state]}"]
    lines += [_counts_in_words(status, group) for group in status.counts]
    lines += _scores_in_words(status)
    running = []
    for trial in status.running:
        epochs = f"{trial.epochs}/{trial.epochs_planned}"
        silent = f"{status.silent[trial.trial_id]:.0f} s ago"
        running.append([trial.trial_id, epochs, silent, tuned_in_words(trial.settings)])
    failed = [
        [trial.trial_id, str(trial.epochs), trial.reason or ""]
        for trial in status.failed[-MOST_TRIALS:]
    ]
    if len(status.failed) > MOST_TRIALS:
        failed.append([f"and {len(status.failed) - MOST_TRIALS} before", "", ""])
    if running:
        lines += ["", plain_table(("unfinished", "epoch", "last wrote", "subset"), running)]
    if failed:
        lines += ["", plain_table(("failed", "epochs", "cause"), failed)]
    if status.best:
        lines += ["", _best_table(status), TERMS]
    return Group(*lines)


def _counts_in_words(status: Status, group: str) -> str:
    """Return how many trials of a group there are, and how they ended."""
    counts = status.counts[group]
    trials = amount(sum(counts.values()), "trial")
    if group == "search" and status.wanted is not None:
        trials = f"{sum(counts.values())} of {amount(status.wanted, 'trial')}"
    titles = {"final": "final (the final model)", OUTSIDE: f"{OUTSIDE} (beside the search)"}
    ends = ", ".join(f"{number} {end}" for end, number in sorted(counts.items()))
    return f"{titles.get(group, group)}: {trials}: {ends}"


def _scores_in_words(status: Status) -> Iterator[str]:
    """Yield what is known of the best configuration."""
    if status.val_score is not None:
        yield f"best configuration: {percent(status.val_score)} % on validation"
    if status.test_score is None:
        return
    text = f"best configuration: {percent(status.test_score)} % on test"
    if status.balanced is not None:
        text += f", balanced {percent(status.balanced)} %"
    if status.against_chance and not status.against_chance.is_proven:
        text += f"; {status.against_chance.doubt}"
    yield text


def _best_table(status: Status) -> TerminalTable:
    header = ("best trials", "validation %", *setting_header(), "subset")
    rows = []
    for trial in status.best:
        scores = (trial.trial_id, percent(trial.val_score, 2))
        rows.append((*scores, *setting_cells(trial.settings), tuned_in_words(trial.settings)))
    return plain_table(header, rows)


def plain_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> TerminalTable:
    """Return a table without lines for the terminal."""
    return TerminalTable(header, rows, words=len(header), lines=False)


def print_resume_commands(console: Console, interrupted: Sequence[StudyFolder]) -> None:
    """Print the commands that resume studies, one a line, without line breaks inside."""
    if not interrupted:
        return
    lines = ["to continue, run"]
    lines += [f"  {study_command('resume', folder.path)}" for folder in interrupted]
    print_unwrapped(console, "\n".join(lines))
