"""The command ``list``: the studies of a storage."""

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from study.commands.arguments import add_json
from study.commands.console import output_console, print_json
from study.commands.status import INTERRUPTED, print_resume_commands, study_status
from study.errors import ConfigError, FormatError, StudyError

if TYPE_CHECKING:
    from study.storage.study_folder import StudyFolder

HELP = "list the studies in a folder with their states, trials and scores"


def add_arguments(parser: ArgumentParser) -> None:
    """Add ``--json``."""
    add_json(parser)


def run(options: Namespace) -> None:
    """Print the studies of a storage, as a table or as JSON.

    Raises:
        ConfigError: the storage is a file, or is given and is not a folder.
    """
    from study.report.formatting import percent
    from study.report.tables import plain_table
    from study.storage.command_lines import storage_folder
    from study.storage.study_folder import studies

    storage = storage_folder(options.storage)
    if options.storage and not storage.is_dir():
        raise ConfigError(f"storage={storage} is not a folder; expected one that has studies")
    folders = studies(storage)
    rows = [summarize_study(folder) for folder in folders]
    if options.json:
        print_json(rows)
        return
    console = output_console()
    if not rows:
        console.print(f"no studies in {storage}")
        return
    cells = [
        [row["study"], row["state"], str(row["trials"])]
        + [percent(row[score]) for score in ("val_score", "test_score")]
        for row in rows
    ]
    header = ("study", "state", "trials", "best validation %", "test %")
    console.print(f"in {storage}:", plain_table(header, cells), sep="\n")
    states = zip(folders, rows, strict=True)
    print_resume_commands([folder for folder, row in states if row["state"] == INTERRUPTED])


def summarize_study(folder: "StudyFolder") -> dict[str, Any]:
    """Return the row of a study; a value that does not exist is None, and scores are fractions.

    Its state is that of `Status`, "damaged", or "other format" where another version wrote it.
    """
    from study.results.study_result import read_study_result

    trials = len(list(folder.path.glob("trials/*/config.json")))
    row: dict[str, Any] = {"study": folder.name, "state": "damaged", "trials": trials}
    row |= {"val_score": None, "test_score": None}
    try:
        status = study_status(read_study_result(folder.path))
    except FormatError:
        return row | {"state": "other format"}
    except StudyError:
        return row
    val_score = status.best[0].val_score if status.best else None
    return row | {"state": status.state, "val_score": val_score, "test_score": status.test_score}
