"""The best configurations of all studies, as tables and as records."""

from collections.abc import Sequence

from rich.console import Group
from rich.text import Text

from study.report.formatting import percent
from study.report.setting_descriptions import settings_in_words
from study.report.tables import Table
from study.results.best_of_studies import RankedConfiguration


def render_best_configurations(configurations: Sequence[RankedConfiguration]) -> Group:
    """Return configurations as a table for each dataset, since scores of one alone compare."""
    tables = []
    for dataset in dict.fromkeys(row.dataset for row in configurations):
        rows = []
        for row in configurations:
            if row.dataset == dataset:
                test = f"{percent(row.test_score)} ({row.test_seeds})" if row.test_seeds else None
                cells = [row.study, row.label, settings_in_words(row.settings), row.split_hash[:6]]
                rows.append([*cells, percent(row.val_score), test])
        header = ["study", "trial", "tunes", "split", "val %", "test %"]
        tables.append(Table(f"Best on {dataset}", header, rows, left=4, lines=False))
    note = (
        "Finished trials by validation score; test is the mean over the seeds in brackets. Compare "
        "rows of the same split alone. --json has the learning rates."
    )
    return Group(*tables, Text(note, style="dim"))


def best_configurations_records(
    configurations: Sequence[RankedConfiguration],
) -> list[dict[str, object]]:
    """Return configurations as records: one each, with its settings."""
    records = []
    for row in configurations:
        record = vars(row) | row.settings.column_values()
        del record["settings"]
        records.append(record)
    return records
