"""How good the answer of a whole study is, on images that no choice has seen.

    python tests/benchmarks/answer.py --storage runs/answer    # all of it; goes on where it was
    python tests/benchmarks/answer.py --only digits letters    # some cases
    python tests/benchmarks/answer.py --quick                  # tiny, other images: shows it works

The unit is the whole honest choice: one study with its own shots, folds, search and pick by
validation. Each case is several such studies, which differ by their seed alone. A study tests what
it chose on its own shots and on one further draw, and the mean of the two is the choice's score.

The images are those of `own_images.py`, on which no setting of this project was chosen. Tables go
to the terminal and into the storage.
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from answer_cases import CASES, FURTHER, TRACKER, Case, configuration, quick
from answer_tables import PEER, Choice, Tested, choices_table
from paired import machine
from rich.console import Console

from study.config.schema import StudyConfig
from study.errors import ConfigError
from study.report.setting_descriptions import settings_in_words
from study.results.leaderboard import Leaderboard, leaderboard
from study.results.study_results import read_results
from study.search.driver import ray_session
from study.storage.study_folder import DESCRIPTION, StudyFolder
from study.storage.trial_folder import End
from study.tracking.tracker import Tracker
from study.trial import TrialConfig
from study.trial.study import Study
from study.workflow.frozen_configuration import changes_of_results, frozen_config
from study.workflow.run_study import run_study


class Untracked(Tracker):
    """A tracker that keeps nothing: the studies' folders are enough."""

    name = TRACKER

    def start(self, study: Study) -> None:
        """See `Tracker.start`."""

    def trial_ended(self, config: TrialConfig, end: End, score: float | None) -> None:
        """See `Tracker.trial_ended`."""

    def close(self, *, finished: bool) -> Mapping[str, str]:
        """See `Tracker.close`."""
        return {}


def main() -> None:
    """Run what is missing, then print every table and write them into the storage."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="CASE", choices=[*CASES])
    parser.add_argument("--storage", type=Path, help="default: runs/answer")
    parser.add_argument("--processes", type=int, default=2, help="trials, and studies, at a time")
    parser.add_argument("--quick", action="store_true", help="tiny settings, on other images")
    parser.add_argument("--share", type=int, help=argparse.SUPPRESS)  # of the studies, see `run`
    options = parser.parse_args()
    storage = options.storage or Path("runs") / ("answer-quick" if options.quick else "answer")
    storage = storage.resolve()
    storage.mkdir(parents=True, exist_ok=True)
    cases = {n: quick(n, case) if options.quick else case for n, case in CASES.items()}
    studies = {
        name: [configuration(name, case, storage, 1 + n) for n in range(case.choices)]
        for name, case in cases.items()
        if name in (options.only or CASES)
    }
    every = [config for configs in studies.values() for config in configs]
    if options.share is not None:
        run(every[options.share :: options.processes])
        return
    texts = [f"`{shlex.join(['python', *sys.argv])}`, {machine()}\n"]
    print(texts[0], flush=True)
    began = time.monotonic()
    missing = [config for config in every if not is_finished(config)]
    if missing:
        run_shares(options.processes)
    print(f"{len(missing)} studies: {time.monotonic() - began:.0f} s\n", flush=True)
    for name, configs in studies.items():
        texts.append(answer(cases[name], configs))
        print(texts[-1], flush=True)
    (storage / "answer.md").write_text("\n".join(texts))


def run_shares(processes: int) -> None:
    """Run all studies in this many processes, which are this command with a share each.

    A study trains one trial at a time, so that no core waits while a study starts or concludes.
    """
    command = [sys.executable, *sys.argv, "--share"]
    running = [subprocess.Popen([*command, str(share)]) for share in range(processes)]
    failed = [process.wait() for process in running]
    if any(failed):
        sys.exit("not all studies ended well; the same command goes on where this one stopped")


def run(configs: Sequence[StudyConfig]) -> None:
    """Run the studies that are not finished, one after the other."""
    with ray_session(StudyConfig()):  # one for all, since it takes seconds to start
        for config in configs:
            began = time.monotonic()
            if not is_finished(config):
                folder = StudyFolder(config.storage / str(config.name))
                resume, quiet = folder.exists(), Console(quiet=True)
                run_study(Study(config, folder), quiet, resume=resume, tracker=Untracked())
                seconds = f"{time.monotonic() - began:.0f} s"
                print(f"{folder.name}: {seconds}", file=sys.stderr, flush=True)


def answer(case: Case, configs: Sequence[StudyConfig]) -> str:
    """Return the tables of a case whose studies are finished."""
    boards = [leaderboard(read_results(config.storage / str(config.name))) for config in configs]
    choices = [choice_of(config.seed, board) for config, board in zip(configs, boards, strict=True)]
    table = choices_table(case.title, choices)
    note = (
        f"Study seeds 1 to {case.choices}; each tests with its own and with {FURTHER} more; "
        f"{statistics.fmean(choice.seconds for choice in choices):.0f} s of trials a study. "
        f"Beside `{case.study}`: {', '.join(f'{k} {v}' for k, v in case.changes.items())}.\n"
    )
    return f"{table}\n{note}"


def is_finished(config: StudyConfig) -> bool:
    """Return whether a study has run to its end.

    Raises:
        ConfigError: the study is there with another configuration.
    """
    folder = StudyFolder(config.storage / str(config.name))
    if folder.exists() and (changes := changes_of_results(frozen_config(folder), config)):
        raise ConfigError(
            f"{folder.path} has another configuration; choose another --storage "
            f"({'; '.join(changes)})"
        )
    return (folder.path / DESCRIPTION).exists()


def choice_of(seed: int, board: Leaderboard) -> Choice:
    """Return what a study chose and tested."""
    labels = labels_of(board)
    tested = {
        label: Tested(
            scores=entry.scores,
            parts=_parts(board, entry.label),
            trainable=entry.trainable,
            trained=entry.label,
            val_score=entry.val_score,
        )
        for label, own in labels.items()
        if (entry := board.find_entry(own)) is not None
    }
    work = [span for trial in board.trials for span in trial.work]  # one trial at a time
    chosen = board.chosen
    assert chosen is not None
    return Choice(
        seed=seed,
        winner=settings_in_words(chosen.settings),
        seconds=sum(end - start for start, end in work),
        tested=tested,
    )


def _parts(board: Leaderboard, label: str) -> dict[str, float]:
    """Return the parts of a candidate's score, and what stands beside it, as tables call them."""
    protocol = board.protocol
    headings = {part: part for part in board.parts}
    headings |= protocol.further_headings if protocol else {}
    trials = board.confirm_trials(label)
    return {
        heading: statistics.fmean(known)
        for name, heading in headings.items()
        if (known := [v for trial in trials if (v := trial.test.get(name)) is not None])
    }


def labels_of(board: Leaderboard) -> dict[str, str]:
    """Return the label in the study of each label that tables know, the best peer's among them."""
    labels = {label: label for entry in board.entries for label in entry.labels}
    return {**labels, **({PEER: board.top_peer} if board.top_peer in labels else {})}


if __name__ == "__main__":
    main()
