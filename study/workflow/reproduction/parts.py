"""The parts of a reproduction: which studies are run, in which order, with which settings."""

import shlex
from argparse import Namespace
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from study.config.shipped import shipped_file
from study.config.sweep import Member, load_sweep
from study.config.yaml_values import parse_overrides
from study.data.readers.benchmarks import BENCHMARKS
from study.errors import ConfigError
from study.process.table_files import read_table
from study.storage.command_lines import PROGRAM

BENCHMARK = "benchmark"
"""The part that measures a GPU, by a program that only a clone of the repository has."""
PROGRAM_OF_BENCHMARK = "tests/benchmarks/gpu/gpu.py"
_TABLE = read_table(__file__)
PARTS = {part: row["configuration"] for part, row in _TABLE.items()}
"""All parts in their order, each with its configuration."""
EUROSAT = {"data.dataset": "eurosat"}
_SIZES = {name: benchmark.counts.test for name, benchmark in BENCHMARKS.items()}
RANDOM = "random-vit-b16"
"""The folder of the checkpoint with random weights, in the working folder."""
QUICK = {part: row["quick"] for part, row in _TABLE.items() if "quick" in row}
"""The parts of a quick reproduction, each with its settings."""


class Step(NamedTuple):
    """Something that is run, and has results of its own."""

    name: str
    command: str
    """The command that runs it alone."""
    member: Member | None
    """The study; None for the benchmark."""


def _size(member: Member) -> int:
    """Return how many test images the dataset of a study has, as far as that is published."""
    return _SIZES.get(member.config.data.dataset, 0)


def list_steps(options: Namespace, work: Path) -> list[Step]:
    """Return the steps that are asked for, in their order.

    Args:
        options: those of the command.
        work: the folder of studies, and of the inputs of a quick reproduction.

    Raises:
        ConfigError: a part is unknown or not quick, or a setting is not allowed.
    """
    known: Collection[str] = PARTS
    if options.quick:
        known = QUICK
    for name in options.only:
        if name not in known:
            raise ConfigError(f"--only {name} is no part; allowed are {', '.join(known)}")
    steps = []
    for part in known:
        if options.only and part not in options.only:
            continue
        if part != BENCHMARK:
            steps += _list_studies(part, options, work)
            continue
        command = PROGRAM_OF_BENCHMARK
        if options.quick:
            command += " --quick"
        steps.append(Step(part, command, None))
    return steps


def _list_studies(part: str, options: Namespace, work: Path) -> list[Step]:
    """Return the studies of a part, those of the smallest datasets first."""
    source = shipped_file(PARTS[part])
    if source is None:
        raise ConfigError(f"the configuration {PARTS[part]} is missing from this installation")
    own: dict[str, str] = {}
    data = options.data.expanduser().absolute()
    if part == "search":
        own |= EUROSAT
    if options.quick:
        own |= {"backbone.name": str(work / RANDOM)} | QUICK[part]
        data = work / "data"
    given = parse_overrides(options.arguments)
    chosen = [f"{key}={text}" for key, text in own.items() if key not in given]
    chosen += options.arguments
    fixed = ["name=reproduce", f"storage={work}/runs", f"data.root={data}/", "tracking.trackers=[]"]
    steps = []
    for member in sorted(load_sweep(source, [*chosen, *fixed]), key=_size):
        axes = [f"{key}={value}" for key, value in member.axes.items() if key not in given | own]
        command = shlex.join([PROGRAM, "run", PARTS[part], *axes, *chosen, "data.root=DATA"])
        name = "-".join([part, *map(str, member.axes.values())])
        steps.append(Step(name, command, member))
    return steps
