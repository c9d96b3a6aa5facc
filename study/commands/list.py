"""The command ``list``: the studies of a storage."""

import contextlib
import os
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path

from study.commands.arguments import add_json, add_storage
from study.errors import ConfigError
from study.process.ctrl_c import exit_at_ctrl_c

TYPE_CHECKING = False  # of typing, whose import takes long
if TYPE_CHECKING:
    from study.storage.ledger_files import JsonObject
    from study.storage.study_folder import StudyFolder

HELP = "list the studies in a folder: state, scores, size, age"
SCORE_COLUMNS = {
    "val_score": "val. %",
    "test_score": "test %",
    "test_balanced": "balanced %",
}
"""The headings of the scores in the list of studies."""
COLUMNS = (
    "study",
    "state",
    "trials",
    "val_score",
    "test_score",
    "test_balanced",
    "bytes",
    "seconds",
    "study_id",
    "registered",
)
"""The keys of the summary of a study, in their order."""
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
    cells = []
    for row in rows:
        line = [row["study"], row["state"], str(row["trials"])]
        line += [percent(row[name]) for name in SCORE_COLUMNS]
        line += [decimal(row["bytes"]), f"{row['seconds'] / 86400:.1f}"]
        cells.append(line)
    header = ("study", "state", "trials", *SCORE_COLUMNS.values(), "size", "days")
    count = f"{len(rows)} studies"
    if len(rows) == 1:
        count = "1 study"
    console.print(f"{count} in {storage}", plain_table(header, cells), highlight=False)
    console.print(NOTE, highlight=False)
    interrupted = [
        folder for folder, row in zip(folders, rows, strict=True) if row["state"] == INTERRUPTED
    ]
    print_resume_commands(console, interrupted)


def summarize_study(folder: "StudyFolder") -> "JsonObject":
    """Return the row of a study in the list of studies.

    Returns:
        The ``study``; its ``state``, which is that of `Status`, "damaged", or "other format" where
        another version wrote it; its number of ``trials``; the best ``val_score`` of the search;
        the mean ``test_score`` of the choice, and the same with the mean recall of the classes
        (``test_balanced``), as fractions; its size in ``bytes``, its age in ``seconds``; and for
        the tracker its ``study_id`` and where its winner is ``registered``. A value that does not
        exist is None.
    """
    from study.commands.study_status import study_status
    from study.errors import FormatError, StudyError
    from study.results.study_results import read_results

    size, age = _size_and_age(folder.path)
    row = dict.fromkeys(COLUMNS) | {
        "study": folder.name,
        "trials": len(list(folder.path.glob("trials/*/config.json"))),
        "bytes": size,
        "seconds": age,
    }
    try:
        results = read_results(folder.path)
        status = study_status(results)
        row |= {
            "state": status.state,
            "test_score": status.test_score,
            "test_balanced": status.balanced,
            "study_id": results.identity.get("study_id"),
        }
        if status.best:
            row["val_score"] = status.best[0].val_score
        if results.registration:
            row["registered"] = results.registration.uri
    except FormatError:
        row["state"] = "other format"
    except StudyError:
        row["state"] = "damaged"
    return row


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
