"""The best configurations on a tracking server, as tables, as JSON, or as a new study."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from study.config.baselines import baseline_of
from study.config.loading import build_config, dump_config
from study.config.schema import StudyConfig
from study.report.formatting import Table, percent
from study.report.setting_descriptions import settings_in_words

if TYPE_CHECKING:
    from study.tracking.tracker import RankedConfiguration

FOUND_PREFIX = "found-"
"""The prefix of the labels of baselines that were found on a tracking server."""
_LONGEST_LABEL = 36
"""The number of characters of such a label, before the number that tells equal ones apart."""


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
        "rows of the same split alone. --format json has the learning rates."
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


def baselines_study_yaml(configurations: Sequence[RankedConfiguration], config: StudyConfig) -> str:
    """Return the YAML of a new study that has the configurations as baselines.

    Baselines are tried first and tested whatever they score. So a study with
    this file shows whether they do as well again: on another dataset (``data.dataset=…``),
    backbone or draw of images. They are read as given, with the text head and all of the tuned
    change, whatever the study that found them used.

    Args:
        configurations: the configurations.
        config: the study configuration that provides all other settings.
    """
    values = config.model_dump(mode="json")
    search = values["search"]
    baselines = {
        label: settings
        for label, settings in search["baselines"].items()
        if not label.startswith(FOUND_PREFIX)
    }
    for row in configurations:
        settings = baseline_of(row.settings).model_dump(mode="json")
        if settings not in baselines.values():
            baselines[_baseline_label(row, baselines)] = settings
    search["baselines"] = baselines
    count = sum(settings is not None for settings in baselines.values())
    search["trials"] = max(search["trials"], 2 * count)
    values["name"] = None
    values["ablation"] = None  # would run instead of the search
    return dump_config(build_config(values, "the configuration that was found"))


def _baseline_label(row: RankedConfiguration, taken: Collection[str]) -> str:
    """Return a label that no other baseline has."""
    name = f"{FOUND_PREFIX}{row.study}-{row.label.removeprefix('trial ')}".lower()
    name = re.sub(r"[^a-z0-9._-]+", "-", name)[:_LONGEST_LABEL]
    label = name
    number = 1
    while label in taken:
        number += 1
        label = f"{name}-{number}"
    return label
