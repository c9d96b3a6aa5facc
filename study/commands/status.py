"""The command ``status``: the progress of a study, read from its folder alone."""

from argparse import ArgumentParser, Namespace
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from study.commands.arguments import add_json, add_study
from study.commands.console import output_console, print_json

if TYPE_CHECKING:
    from study.results.chance import ChanceComparison
    from study.results.study_result import StudyResult
    from study.results.trial_results import TrialResult
    from study.storage.study_folder import StudyFolder

HELP = "show the progress of a study, and its best trials"
INTERRUPTED = "interrupted"
"""The state of a study that is not finished, and that no driver runs."""
MOST_TRIALS = 5
"""The largest number of failed trials, and of best trials, to print."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add a study and ``--json``."""
    add_study(parser)
    add_json(parser)


def run(options: Namespace) -> None:
    """Print what is done, running and best in a study, and how to continue it.

    Raises:
        StudyError: the study cannot be read.
    """
    from study.commands.find import find_study

    folder = find_study(options.name, options.storage)
    folder.refuse_damaged()
    from study.results.study_result import read_study_result

    status = study_status(read_study_result(folder.path))
    if options.json:
        values = dict(vars(status))
        for name in ("running", "failed", "best"):
            values[name] = [trial.status_record() for trial in values[name]]
        print_json(values)
        return
    print_status(status)
    if status.state == INTERRUPTED:
        print_resume_commands([folder])


@dataclass(frozen=True)
class Status:
    """What a study has done, what is running, and its best trials."""

    study: str
    state: str
    """``searching``, ``testing`` (what the search chose), ``finished`` or ``interrupted``."""
    planned: int | None
    """The planned number of trials of the search; None for an ablation."""
    counts: Mapping[str, Mapping[str, int]]
    """The number of trials by stage and by how they ended, or ``unfinished``."""
    running: Sequence["TrialResult"]
    failed: Sequence["TrialResult"]
    best: Sequence["TrialResult"]
    """The best finished trials of the search, by validation."""
    val_score: float | None
    """The validation score of the best configuration; None while nothing is chosen."""
    test_score: float | None
    """Its mean test score, a fraction; None while nothing is tested."""
    against_chance: "ChanceComparison | None"
    """Its test score beside that of guessing; None while that is not known."""


def study_status(result: "StudyResult") -> Status:
    """Return the status of a study."""
    from study.results.best_configuration import read_best

    config, folder = result.config, result.folder
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for trial in result.each_trial:
        counts[trial.stage][trial.status.replace("running", "unfinished")] += 1
    finished = [trial for trial in result.stage("search") if trial.status == "finished"]
    finished.sort(key=lambda trial: (-(trial.val_score or 0), trial.trainable, trial.number))
    best = read_best(result.study)
    state = "testing" if result.candidates else "searching"
    if result.is_complete:
        state = "finished"
    elif not folder.has_driver():
        state = INTERRUPTED
    return Status(
        study=folder.name,
        state=state,
        planned=None if config.ablation else config.search.planned_trials,
        counts={stage: dict(ends) for stage, ends in counts.items()},
        running=[trial for trial in result.each_trial if trial.status == "running"],
        failed=[trial for trial in result.each_trial if trial.status == "failed"],
        best=finished[:MOST_TRIALS],
        val_score=best.candidate.val_score if best else None,
        test_score=best.test_scores.get("test_score") if best else None,
        against_chance=best.against_chance if best else None,
    )


def print_status(status: Status) -> None:
    """Print the status as lines and tables."""
    from study.report.formatting import percent
    from study.report.setting_descriptions import setting_cells, setting_header, tuned_in_words
    from study.report.tables import plain_table
    from study.report.terminal import amount

    console = output_console()
    lines = [f"{status.study}: {status.state}"]
    for stage, counts in status.counts.items():
        trials = amount(sum(counts.values()), "trial")
        if stage == "search" and status.planned is not None:
            trials = f"{sum(counts.values())} of {amount(status.planned, 'trial')}"
        ends = ", ".join(f"{count} {end}" for end, count in sorted(counts.items()))
        lines.append(f"{stage}: {trials}: {ends}")
    if status.val_score is not None:
        lines.append(f"best configuration: {percent(status.val_score)} % on validation")
    if status.test_score is not None:
        lines[-1] += f", {percent(status.test_score)} % on test"
        if status.against_chance and not status.against_chance.is_proven:
            lines[-1] += f"; {status.against_chance.caveat}"
    console.print("\n".join(lines))
    running = [
        [trial.trial_id, f"{trial.epochs}/{trial.epochs_planned}", tuned_in_words(trial.settings)]
        for trial in status.running
    ]
    failed = [
        [trial.trial_id, str(trial.epochs), trial.reason or ""]
        for trial in status.failed[-MOST_TRIALS:]
    ]
    best = []
    for trial in status.best:
        cells = [*setting_cells(trial.settings), tuned_in_words(trial.settings)]
        best.append([trial.trial_id, percent(trial.val_score, 2), *cells])
    for header, rows in (
        (("unfinished", "epoch", "subset"), running),
        (("failed", "epochs", "cause"), failed),
        (("best trials", "validation %", *setting_header(), "subset"), best),
    ):
        if rows:
            console.print("", plain_table(header, rows), sep="\n")


def print_resume_commands(interrupted: Sequence["StudyFolder"]) -> None:
    """Print the commands that resume studies, one a line, without line breaks inside."""
    from study.report.terminal import print_unwrapped
    from study.storage.command_lines import study_command

    if interrupted:
        commands = [f"  {study_command('resume', folder.path)}" for folder in interrupted]
        print_unwrapped(output_console(), "\n".join(["to continue, run", *commands]))
