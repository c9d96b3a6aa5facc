"""The command ``list``: the studies of a storage."""

import contextlib
import os
import time
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

from study.commands.arguments import add_json, add_storage
from study.errors import ConfigError
from study.process.ctrl_c import exit_at_ctrl_c

TYPE_CHECKING = False  # of typing, whose import takes long
if TYPE_CHECKING:
    from study.storage.study_folder import StudyFolder

HELP = "list the studies in a folder: state, scores, size, age"
NOTE = (
    "val. %: validation score of the best trial, which is a maximum and in part luck; test %: of "
    "the winner; balanced %: the same, where every class counts alike"
)
"""The explanation of these scores below the list."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the folder of studies and ``--json``."""
    add_storage(parser)
    add_json(parser)


def run(options: Namespace) -> None:
    """Print the studies of a storage, as a table or as JSON.

    Raises:
        ConfigError: the storage is a file, or is given and is no folder.
    """
    with exit_at_ctrl_c():
        from rich.filesize import decimal

        from study.commands.json_output import print_json
        from study.commands.signals import LastingConsole
        from study.commands.study_status import INTERRUPTED, plain_table, print_resume_commands
        from study.report.formatting import percent
        from study.storage.command_lines import storage_folder
        from study.storage.study_folder import studies
    console = LastingConsole()
    storage = storage_folder(options.storage)
    if options.storage and not storage.is_dir():
        raise ConfigError(f"storage={storage} is no folder; allowed is one that has studies")
    folders = studies(storage)
    rows = [summarize_study(folder) for folder in folders]
    if options.json:
        print_json(rows)
        return
    if not rows:
        console.print(f"no studies in {storage}", highlight=False)
        return
    header = ("study", "state", "trials", "val. %", "test %", "balanced %", "size", "days")
    cells = []
    for row in rows:
        scores = map(percent, (row.val_score, row.test_score, row.test_balanced))
        age = f"{row.seconds / 86400:.1f}"
        cells.append([row.study, row.state, str(row.trials), *scores, decimal(row.bytes), age])
    count = "1 study" if len(rows) == 1 else f"{len(rows)} studies"
    console.print(f"{count} in {storage}", plain_table(header, cells), highlight=False)
    console.print(NOTE, highlight=False)
    states = zip(folders, rows, strict=True)
    interrupted = [folder for folder, row in states if row.state == INTERRUPTED]
    print_resume_commands(console, interrupted)


@dataclass(frozen=True)
class StudySummary:
    """A study in one row; a value that does not exist is None, and scores are fractions."""

    study: str
    state: str
    """That of `Status`, "damaged", or "other format" where another version wrote it."""
    trials: int
    bytes: int
    """The size of its folder."""
    seconds: float
    """Its age."""
    val_score: float | None = None
    """The best validation score of the search."""
    test_score: float | None = None
    """The mean test score of the best configuration."""
    test_balanced: float | None = None
    """The same with the mean recall of the classes."""
    study_id: str | None = None
    registered: str | None = None
    """Where the tracker has the final model."""


def summarize_study(folder: "StudyFolder") -> StudySummary:
    """Return the row of a study in the list of studies."""
    from study.commands.study_status import study_status
    from study.errors import FormatError, StudyError
    from study.results.study_result import read_study_result

    size, age = _size_and_age(folder.path)
    trials = len(list(folder.path.glob("trials/*/config.json")))
    try:
        results = read_study_result(folder.path)
        status = study_status(results)
    except StudyError as error:
        state = "other format" if isinstance(error, FormatError) else "damaged"
        return StudySummary(folder.name, state, trials, size, age)
    return StudySummary(
        folder.name,
        status.state,
        trials,
        size,
        age,
        val_score=status.best[0].val_score if status.best else None,
        test_score=status.test_score,
        test_balanced=status.balanced,
        study_id=results.identity.get("study_id"),
        registered=results.registration.uri if results.registration else None,
    )


def _size_and_age(folder: Path) -> tuple[int, float]:
    """Return the bytes of all files below a folder, and the seconds since the first was written."""
    size = 0
    times = []
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # a running study may remove files meanwhile
                stat = Path(parent, name).lstat()
                size += stat.st_size
                times.append(stat.st_mtime)
    now = time.time()
    return size, now - min(times, default=now)
