"""How good the answer of a whole study is, on images that no choice has seen.

    python tests/benchmarks/answer/answer.py --storage runs/answer    # all; goes on where it was
    python tests/benchmarks/answer/answer.py --only digits letters    # some cases
    python tests/benchmarks/answer/answer.py --quick                  # tiny, other images: it works

The unit is the whole choice: one study with its own shots, folds, search and pick by validation.
Each case is several such studies, which differ by their seed alone. A study tests what it chose on
its own shots and on one further draw, and the mean of the two is the score of its choice.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path

from study.config.loading import dump_config
from study.config.schema import StudyConfig
from study.errors import ConfigError
from study.results.leaderboard import leaderboard
from study.results.study_results import read_results
from study.storage.study_folder import DESCRIPTION, StudyFolder
from study.workflow.frozen_configuration import changes_of_results, frozen_config
from tests.benchmarks.answer.answer_tables import answer_tables, read_choice
from tests.benchmarks.answer.cases import CASES, QUICK_CASES, configuration
from tests.benchmarks.measuring import machine

RUN = Path(__file__).parents[3] / "study" / "run.py"
STUDIES = 10
"""The number of studies of a case, whose seeds are 1, 2 and so on."""


def main() -> None:
    """Run what is missing, then print all tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="CASE", choices=CASES, default=CASES)
    parser.add_argument("--storage", type=Path, default=Path("runs/answer"))
    parser.add_argument("--processes", type=int, default=2, help="studies at a time")
    parser.add_argument("--quick", action="store_true", help="tiny settings, on other images")
    options = parser.parse_args()
    cases, count, storage = CASES, STUDIES, options.storage.resolve()
    if options.quick:
        cases, count, storage = QUICK_CASES, 2, storage / "quick"
    storage.mkdir(parents=True, exist_ok=True)
    studies: dict[str, list[StudyConfig]] = {}
    for name in options.only:
        seeds = range(1, 1 + count)
        studies[name] = [configuration(name, cases[name], storage, seed) for seed in seeds]
    missing = [config for configs in studies.values() for config in configs if not finished(config)]
    print(f"{shlex.join(sys.argv)}: {len(missing)} studies to run; {machine()}\n", flush=True)
    with ThreadPool(options.processes) as pool:
        pool.map(run, missing, chunksize=1)
    for name, configs in studies.items():
        print(tables_of(cases[name].title, configs), flush=True)


def run(config: StudyConfig) -> None:
    """Run a study, or what is left of it, one trial at a time."""
    folder = StudyFolder(config.storage / str(config.name))
    command = [sys.executable, str(RUN), "resume", folder.name, f"storage={config.storage}"]
    if not folder.exists():
        file = config.storage / f"{folder.name}.yaml"
        file.write_text(dump_config(config))
        command = [sys.executable, str(RUN), "run", str(file)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    print(f"{folder.name} has finished", file=sys.stderr, flush=True)


def finished(config: StudyConfig) -> bool:
    """Return whether a study has run to its end.

    Raises:
        ConfigError: the study is there with another configuration.
    """
    folder = StudyFolder(config.storage / str(config.name))
    if folder.exists():
        changes = changes_of_results(frozen_config(folder), config)
        if changes:
            others = "; ".join(changes)
            raise ConfigError(f"{folder.path} has another configuration ({others})")
    return (folder.path / DESCRIPTION).exists()


def tables_of(title: str, configs: Sequence[StudyConfig]) -> str:
    """Return the tables of a case whose studies have finished."""
    choices = []
    for config in configs:
        board = leaderboard(read_results(config.storage / str(config.name)))
        choices.append(read_choice(config.seed, board))
    return answer_tables(title, choices)


if __name__ == "__main__":
    main()
