"""The run of a reproduction: a step after the other, each on disk before the next begins."""

import os
import shlex
import subprocess
import sys
import time
import traceback
from argparse import Namespace
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

import study
from study.config.sweep import Member
from study.data.records import listed
from study.errors import ConfigError, InterruptedStudyError, StudyError
from study.method.device import list_gpus
from study.process.terminal_table import print_sentences, print_unwrapped
from study.report.leaderboard_tables import leaderboard_csv, leaderboard_markdown
from study.results.leaderboard import leaderboard
from study.results.study_results import read_results
from study.storage.atomic import write_atomically
from study.storage.command_lines import PROGRAM
from study.storage.study_folder import StudyFolder
from study.workflow.reproduction.inputs import Inputs
from study.workflow.reproduction.machine import describe_machine
from study.workflow.reproduction.parts import Step, list_steps
from study.workflow.reproduction.quick_inputs import write_quick_inputs
from study.workflow.reproduction.record import Reproduction, Run, Score, StepRecord
from study.workflow.reproduction.result_folder import (
    RECORD,
    plain_line,
    publish,
    read_files,
    read_record,
)
from study.workflow.reproduction.telling import (
    NO_MEASUREMENT,
    facts,
    figures,
    first_lines,
    markdown,
)
from study.workflow.run_sweep import member_study, run_member
from study.workflow.signals import handle_hang_up, interrupt

GPU = "gpu.md"
"""The file of the tables of the benchmark."""
BENCHMARK_SECONDS = 3600.0
"""The longest time that the benchmark of a GPU may take."""


def reproduce_or_print(options: Namespace) -> None:
    """Run what the paper reports, or print the results of such a run.

    Raises:
        StudyError: not every step has a result, or the folder cannot be read.
    """
    if options.read is not None:
        print_results(options.read, options.console)
    else:
        reproduce(options)


def print_results(folder: Path, console: Console) -> None:
    """Print the figures of a folder beside the published ones, once its files were checked.

    Raises:
        DataError: a file is not what reproduce wrote.
    """
    record = read_record(folder)
    for line in first_lines(record):
        print_sentences(console, line)
    console.print(*figures(record).values(), facts(record))
    benchmark = read_files(folder).get(GPU, b"").decode(errors="replace")
    print_unwrapped(console, "\n".join(filter(str.isprintable, benchmark.splitlines())))


@handle_hang_up(interrupt)
def reproduce(options: Namespace) -> None:
    """Run all steps that have no results yet, and write these into a folder.

    Raises:
        StudyError: steps have no results, or the folder is another reproduction's.
        InterruptedStudyError: it was interrupted; the folder has all results so far.
    """
    out = options.out.expanduser().absolute()
    work = out.with_name(f"{out.name}-work")
    command = shlex.join([PROGRAM, *sys.argv[1:]])
    steps = list_steps(options, work)
    for folder in (out, work):
        folder.mkdir(parents=True, exist_ok=True)
    with StudyFolder(work).locked():
        record = _open_record(out, options, steps)
        record.runs.append(
            Run(
                command=plain_line(command),
                began=datetime.now(UTC).isoformat(timespec="seconds"),
                machine={name: plain_line(fact) for name, fact in describe_machine().items()},
            )
        )
        try:
            if options.quick:
                write_quick_inputs(work)
            _run_steps(steps, record, out, options.console)
        except (KeyboardInterrupt, InterruptedStudyError):
            raise InterruptedStudyError(
                f"interrupted; {out} has all results so far. To go on, run\n  {command}"
            ) from None
    for line in first_lines(record):
        print_sentences(options.console, line)
    print_unwrapped(options.console, f"results  {out}")
    if not all(step.done for step in record.steps):
        raise StudyError(f"not every step has a result; to try these again, run\n  {command}")


def _open_record(out: Path, options: Namespace, steps: Sequence[Step]) -> Reproduction:
    """Return the record of a folder, new or with what is done already, with all steps."""
    settings = list(map(plain_line, options.arguments))
    record = Reproduction(measurement=not options.quick, settings=settings)
    if read_files(out):
        record = read_record(out)
        if record.measurement == options.quick or record.settings != settings:
            raise ConfigError(
                f"{out} has results with --quick or with other settings; allowed are those as "
                "before, or another --out"
            )
    known = [step.name for step in record.steps]
    for step in steps:
        if step.name not in known:
            command = plain_line(step.command)
            record.steps.append(StepRecord(name=step.name, command=command))
    return record


def _run_steps(steps: Sequence[Step], record: Reproduction, out: Path, console: Console) -> None:
    """Run the steps that are not done; one that fails stops no other."""
    inputs = Inputs(record.inputs)
    entries = {step.name: step for step in record.steps}
    told: set[str] = set()
    _write(out, record, {})
    for step in steps:
        entry = entries[step.name]
        if entry.done:
            continue
        began = time.monotonic()
        files: Mapping[str, str] = {}
        try:
            if step.member is None:
                files = {GPU: _run_benchmark(step.command)}
                entry.reasons = []
            else:
                faults = inputs.find_faults(member_study(step.member))
                entry.reasons = list(map(plain_line, faults))
                if not faults:
                    console.rule(step.name)
                    files = _run_study(step.member, entry, console)
            entry.done = not entry.reasons
        except InterruptedStudyError:
            raise
        except StudyError as error:
            entry.reasons = [plain_line(str(error))]
        except Exception as error:  # even an error of a library stops no other step
            entry.reasons = [plain_line(repr(error))]
            log = out.with_name(f"{out.name}-work") / f"{step.name}.txt"
            write_atomically(log, traceback.format_exc())
        for reason in sorted(set(entry.reasons) - told):
            print_sentences(console, f"NO RESULT of {step.name}: {reason}", "yellow")
            told.add(reason)
        entry.seconds = time.monotonic() - began
        entry.run = len(record.runs) - 1
        _write(out, record, files)


def _run_study(member: Member, entry: StepRecord, console: Console) -> dict[str, str]:
    """Run a study, record its scores, and return its files by name.

    Raises:
        StudyError: it failed, or one of its configurations has no test score.
    """
    run_member(member, console)
    board = leaderboard(read_results(member.config.storage / str(member.config.name)))
    entry.scores = []
    for candidate in board.entries:
        means = {**candidate.parts, **candidate.dataset_scores}
        score = Score(
            configuration=candidate.label,
            dataset=member.config.data.dataset,
            seeds=len(candidate.scores),
            test=candidate.test.mean,
            parts={name: mean.mean for name, mean in means.items()},
        )
        entry.scores.append(score)
    searched = member.config.search.trials > 0  # whose leaderboard tells of untested candidates
    if not board.entries or (board.untested and not searched):
        raise StudyError(
            f"no test score of {listed(board.untested) or 'any configuration'}; `{PROGRAM} status` "
            "tells why, and once the study is deleted it is tried again"
        )
    table = leaderboard_csv(board)
    return {f"{entry.name}.md": leaderboard_markdown(board), f"{entry.name}.csv": table}


def _run_benchmark(command: str) -> str:
    """Return the tables of the benchmark of a GPU.

    Raises:
        StudyError: there is no GPU, or no clone of the repository.
        SubprocessError: it failed; the terminal has what it told.
    """
    root = Path(study.__file__ or "").parents[1]
    program, *words = command.split()
    if not (root / program).exists():
        raise StudyError(f"{program} is no part of an installed package; it needs a clone")
    if not words and not list_gpus():
        raise StudyError("PyTorch finds no GPU on this machine")
    done = subprocess.run(
        [sys.executable, program, *words],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=BENCHMARK_SECONDS,
        check=True,
    )
    return done.stdout


def _write(out: Path, record: Reproduction, files: Mapping[str, str]) -> None:
    """Write the record and all that is made of it, and further files."""
    written = dict(files)
    if not record.measurement:
        for name, text in files.items():
            lines = text.splitlines()
            if name.endswith(".csv"):
                written[name] = "\n".join(f"{NO_MEASUREMENT},{line}" for line in lines) + "\n"
            else:
                written[name] = f"**{NO_MEASUREMENT}**\n\n{text}"
    for name, table in figures(record).items():
        written[f"{name}.csv"] = table.csv()
    written[RECORD] = record.model_dump_json(indent=1)
    written["README.md"] = markdown(record)
    publish(out, written)
