"""The output of a tracking server's best configurations: tables, JSON, or a new study."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from study.config.loading import build_config, dump_config
from study.config.schema import StudyConfig
from study.report.formatting import (
    SETTING_NOTE,
    Table,
    format_count,
    percent,
    setting_cells,
    setting_header,
    tuned_in_words,
)

if TYPE_CHECKING:
    from study.tracking.tracker import RankedConfiguration

GONE_MARK = "†"
"""The mark of a study whose folder is gone."""
FOUND_PREFIX = "found-"
"""The prefix of the labels of baselines that were found on a tracking server."""


def render_best_configurations(found: Sequence[RankedConfiguration]) -> Group:
    """Return configurations as tables for the terminal: scores and rates, then subsets."""
    names = [row.study if row.folder else f"{row.study} {GONE_MARK}" for row in found]
    notes = [
        Text(
            "Trials that ran all their epochs, by validation score. Compare only rows with the "
            "same split (the images they had); rows are not sorted by test score. Test is the mean "
            f"over the seeds in brackets, where a configuration was tested. {SETTING_NOTE}",
            style="dim",
        )
    ]
    if any(row.folder is None for row in found):
        gone = f"{GONE_MARK} The folder of this study is gone, or is on another machine."
        notes.append(Text(gone, style="dim"))
    return Group(
        Table(
            "Best configurations",
            [
                *("", "study", "trial", "dataset", "val %", "test %", "split"),
                *setting_header(),
                "trainable",
            ],
            [
                [
                    rank,
                    name,
                    row.label,
                    row.dataset,
                    percent(row.val_score),
                    f"{percent(row.test_score)} ({row.test_seeds})" if row.test_seeds else None,
                    row.split_hash[:6],
                    *setting_cells(row.settings),
                    format_count(row.trainable),
                ]
                for rank, (name, row) in enumerate(zip(names, found, strict=True), start=1)
            ],
            left=4,
        ),
        Table(
            "Their subsets",
            ["", "subset"],
            [[rank, tuned_in_words(row.settings)] for rank, row in enumerate(found, start=1)],
            left=2,
        ),
        *notes,
    )


def best_configurations_json(found: Sequence[RankedConfiguration]) -> str:
    """Return configurations as a JSON list with one object each."""
    rows = [
        {name: value for name, value in vars(row).items() if name != "settings"}
        | row.settings.column_values()
        for row in found
    ]
    return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"


def baselines_study_yaml(found: Sequence[RankedConfiguration], config: StudyConfig) -> str:
    """Return the YAML of a new study in which the found configurations are baselines.

    Baselines are tried first and confirmed on test whatever they score. So a study with
    this file shows whether they do as well again: on another dataset (``data.dataset=…``),
    backbone or draw of images.

    Args:
        found: the configurations.
        config: the study configuration that provides all other settings.
    """
    values = config.model_dump(mode="json")
    baselines = {
        label: entry
        for label, entry in values["search"]["baselines"].items()
        if not label.startswith(FOUND_PREFIX)
    }
    for row in found:
        entry = row.settings.model_dump(mode="json")
        if entry not in baselines.values():
            baselines[_label(row, baselines)] = entry
    values |= {
        "name": None,
        "ablation": None,  # would run instead of the search
        "search": {
            **values["search"],
            "baselines": baselines,
            "trials": max(values["search"]["trials"], 2 * len(baselines)),
        },
    }
    return dump_config(build_config(values, "the configuration that was found"))


def _label(row: RankedConfiguration, taken: Collection[str]) -> str:
    text = f"{FOUND_PREFIX}{row.study}-{row.label.removeprefix('trial ')}".lower()
    text = re.sub(r"[^a-z0-9._-]+", "-", text)[:36]
    endings = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
    return next(text + ending for ending in endings if text + ending not in taken)
