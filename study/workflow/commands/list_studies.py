"""The command ``list``: the studies of a storage."""

from argparse import Namespace

from rich.filesize import decimal

from study.errors import ConfigError
from study.report.formatting import percent
from study.storage.command_lines import storage_folder
from study.storage.study_folder import studies
from study.workflow.json_output import print_json
from study.workflow.overview import summarize_study
from study.workflow.status import INTERRUPTED_STATE, plain_table, print_resume_commands

SCORE_COLUMNS = {
    "val_score": "val. %",
    "test_score": "test %",
    "test_balanced": "balanced %",
}
"""The headings of the scores in the list of studies."""
NOTE = (
    "val. %: validation score of the best trial, which is a maximum and in part luck; test %: of "
    "the winner; balanced %: the same, where every class counts alike"
)
"""The explanation of these scores below the list."""


def list_studies(options: Namespace) -> None:
    """Print the studies of a storage, as a table or as JSON.

    Raises:
        ConfigError: the storage is a file, or is given and is no folder.
    """
    storage = storage_folder(options.storage)
    if options.storage and not storage.is_dir():
        raise ConfigError(f"storage={storage} is no folder; allowed is one that has studies")
    folders = studies(storage)
    rows = [summarize_study(folder) for folder in folders]
    if options.json:
        print_json(rows)
        return
    if not rows:
        options.console.print(f"no studies in {storage}", highlight=False)
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
    options.console.print(f"{count} in {storage}", plain_table(header, cells), highlight=False)
    options.console.print(NOTE, highlight=False)
    interrupted = [
        folder
        for folder, row in zip(folders, rows, strict=True)
        if row["state"] == INTERRUPTED_STATE
    ]
    print_resume_commands(options.console, interrupted)
