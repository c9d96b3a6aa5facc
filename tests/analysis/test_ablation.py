"""An ablation's cells are paired with the base by seed, and noise is called noise."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from study.analysis.ablation import (
    ablation_markdown,
    ablation_plots,
    ablation_table,
    ablation_verdict,
    left_out_term,
    only_term,
    render_ablation,
    to_csv,
    write_ablation,
)
from study.analysis.results import Results, TrialResult, read_results
from study.config.loading import build_config, dump_config
from study.config.settings import Settings
from study.errors import DataError


def scores_of(folder: Path, label: str) -> list[float | None]:
    trials = read_results(folder).trials
    return [trial.test_score for trial in trials if trial.label == label]


def test_cells_are_paired_with_the_base_and_corrected_together(ablation_study: Path) -> None:
    table = ablation_table(read_results(ablation_study))
    base = scores_of(ablation_study, "base")
    compared = [cell for cell in table.cells if cell.comparison is not None]
    p_values = [
        stats.ttest_rel(scores_of(ablation_study, cell.label), base).pvalue for cell in compared
    ]
    corrected = multipletests(p_values, method="holm")[1]
    assert len(compared) == 6
    for cell, p, holm_p in zip(compared, p_values, corrected, strict=True):
        assert cell.comparison is not None
        assert cell.comparison.paired.difference.mean == pytest.approx(
            np.mean(scores_of(ablation_study, cell.label)) - np.mean(base)
        )
        assert cell.comparison.paired.p == pytest.approx(p)
        assert cell.comparison.holm_p == pytest.approx(holm_p)


def test_cells_are_sorted_by_their_mean_and_the_base_stands_among_them(
    ablation_study: Path,
) -> None:
    table = ablation_table(read_results(ablation_study))
    means = [cell.score.mean for cell in table.cells]
    assert means == sorted(means, reverse=True)
    assert table.base.comparison is None
    assert table.base.trainable == 5_120
    assert table.base.seconds == pytest.approx(18)


def test_what_is_within_noise_is_called_so(ablation_study: Path) -> None:
    text = " ".join(ablation_verdict(ablation_table(read_results(ablation_study))))
    assert "4 of 6 cells differ" in text
    noise = text.split("Within noise:")[1]
    assert "only vision.ln[2:4]" in noise
    assert "without vision.ln" not in noise


def test_an_interval_without_zero_is_still_noise_when_holm_says_so(ablation_study: Path) -> None:
    results = read_results(ablation_study)
    trials = tuple(
        trial for trial in results.trials if trial.seed <= 3 or trial.label != "only vision.ln[0:2]"
    )
    cells = ablation_table(replace(results, trials=trials)).cells
    (cell,) = [cell for cell in cells if cell.label == "only vision.ln[0:2]"]
    assert cell.comparison is not None
    assert not cell.comparison.paired.within_noise
    assert (cell.comparison.holm_p or 0) > 0.05
    assert not cell.beyond_noise


def test_another_cell_can_be_the_base(ablation_study: Path) -> None:
    table = ablation_table(read_results(ablation_study), "without vision.ln")
    assert table.base.label == "without vision.ln"
    assert all(cell.comparison is not None for cell in table.cells if cell is not table.base)


def test_a_base_without_scores_is_an_error_that_names_the_cells(ablation_study: Path) -> None:
    with pytest.raises(DataError, match=r"'nothing' has no score; cells with one: base, only"):
        ablation_table(read_results(ablation_study), "nothing")


def test_trials_that_did_not_finish_or_belong_to_other_stages_are_left_out(
    few_shot_study: Path, ablation_study: Path
) -> None:
    path = ablation_study / "trials/ablation-0-seed1/end.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"status": "failed"}))
    results = read_results(ablation_study)
    more = read_results(few_shot_study).trials
    table = ablation_table(replace(results, trials=results.trials + more))
    assert len(table.cells) == 7
    assert sorted(table.base.scores) == [2, 3, 4, 5]
    first = table.cells[0].comparison
    assert first is not None
    assert first.paired.seeds == (2, 3, 4, 5)


def test_untested_cells_are_compared_on_validation_and_said_to_be(ablation_study: Path) -> None:
    for path in (ablation_study / "trials").glob("*/reports.jsonl"):
        path.write_text(path.read_text().replace('"test_', '"val_'))
    table = ablation_table(read_results(ablation_study))
    assert table.split == "val"
    assert "nothing was tested" in " ".join(ablation_verdict(table))
    assert "test %" not in ablation_markdown(table)


def with_search(results: Results, cell: TrialResult, rates: tuple[float, ...]) -> Results:
    """Add what validation chose a cell's rate from to the cells themselves."""
    tried = (Settings(subset="none", rates={"bias": one, "ln": one}) for one in rates)
    found = ({"stage": "search", "arm": cell.label, "settings": one} for one in tried)
    search = (cell.model_copy(update=changes) for changes in found)
    return replace(results, trials=(*results.trials, *search))


@pytest.mark.parametrize(
    ("rates", "edge"),
    [
        ((0.1, 1.0, 10.0), None),
        ((1.0, 10.0), "lowest"),
        ((0.1, 1.0), "highest"),
        ((1.0,), None),  # there was nothing to choose
    ],
)
def test_a_rate_at_the_end_of_what_was_tried_is_told(
    ablation_study: Path, rates: tuple[float, ...], edge: str | None
) -> None:
    label = "only text.attn.v.bias"
    results = read_results(ablation_study)
    cell = next(trial for trial in results.trials if trial.label == label)
    chosen = cell.settings.rates["bias"]
    table = ablation_table(with_search(results, cell, tuple(chosen * rate for rate in rates)))
    assert {cell.label: cell.edge for cell in table.cells if cell.edge} == (
        {label: edge} if edge else {}
    )
    told = [line for line in ablation_verdict(table) if "learning rates tried" in line]
    assert len(told) == bool(edge)
    assert all(f"At the {edge} of" in line and f"“{label}”" in line for line in told)


def test_chance_is_said_where_the_classes_of_the_test_images_are_known(
    ablation_study: Path,
) -> None:
    table = ablation_table(read_results(ablation_study))
    assert table.chance is None, "without a configuration there is no protocol"
    config = build_config({"data": {"dataset": "glyphs"}}, "test")
    (ablation_study / "study.yaml").write_text(dump_config(config))
    table = ablation_table(read_results(ablation_study))
    assert "Always naming the largest class would score 8.3 % (chance)." in ablation_markdown(table)
    assert float(next(csv.DictReader(io.StringIO(to_csv(table))))["chance"]) == table.chance


def test_all_files_hold_the_same_cells(ablation_study: Path) -> None:
    table = ablation_table(read_results(ablation_study))
    files = {path.name: path for path in write_ablation(ablation_study, table)}
    assert set(files) == {
        "ablation.parquet",
        "ablation.csv",
        "ablation.md",
        "ablation-forest.svg",
        "ablation-forest.png",
        "ablation-map.svg",
        "ablation-map.png",
    }
    labels = [cell.label for cell in table.cells]
    assert pq.read_table(files["ablation.parquet"])["label"].to_pylist() == labels
    rows = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert [row["label"] for row in rows] == labels
    assert float(rows[0]["score_mean"]) == table.cells[0].score.mean < 1
    assert all(label.replace("[", "\\[") in files["ablation.md"].read_text() for label in labels)


@pytest.mark.parametrize(
    ("subset", "term"),
    [
        ("vision.ln[0:2]", "vision.ln[0:2]"),
        ("text.bias", "text.bias"),
        ("text.bias + vision.ln", None),
        ("none", None),
        ("of another version", None),
    ],
)
def test_a_cell_of_a_single_term_is_about_that_term(subset: str, term: str | None) -> None:
    found = only_term(subset)
    assert (None if found is None else str(found)) == term


@pytest.mark.parametrize(
    ("subset", "term"),
    [
        ("text.bias + vision.ln1", "vision.ln2"),
        ("text.bias + vision.ln1 + vision.ln2 - vision.ln2[0:2]", "vision.ln2[0:2]"),
        ("text.bias", None),
        ("text.bias + vision.ln1 + vision.ln2", None),
        ("text.bias + vision.ln1 - vision.ln1[0:2]", None),
        ("text.ln1 + text.bias + vision.ln1", None),
    ],
)
def test_a_left_out_term_is_found_from_the_base(subset: str, term: str | None) -> None:
    found = left_out_term(subset, "text.bias + vision.ln1 + vision.ln2")
    assert (None if found is None else str(found)) == term


def test_a_base_alone_has_a_table_and_no_plots(ablation_study: Path) -> None:
    results = read_results(ablation_study)
    base = tuple(trial for trial in results.trials if trial.label == "base")
    table = ablation_table(replace(results, trials=base))
    assert len(table.cells) == 1
    assert all(plot.missing for plot in ablation_plots(table))
    assert "0 of 0" in " ".join(ablation_verdict(table))
    render_ablation(table)


def test_the_forest_has_every_cell_but_the_base_and_greys_what_is_noise(
    ablation_study: Path,
) -> None:
    table = ablation_table(read_results(ablation_study))
    forest, grid = ablation_plots(table)
    drawn = {series.name: len(series.x) for series in forest.panels[0].series}
    beyond = sum(cell.beyond_noise for cell in table.cells)
    assert drawn == {"beyond noise": beyond, "within noise": 6 - beyond}
    assert list(grid.panels[0].x.names or ()) == ["all", "0:2", "2:4"]
    (cells,) = grid.panels[0].series
    assert len(cells.values) == len(cells.x) == 5
