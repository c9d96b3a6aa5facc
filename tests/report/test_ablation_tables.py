"""What is told of an ablation's cells is told only where it is so, and noise is called noise."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from study.report.ablation_charts import ablation_plots
from study.report.ablation_tables import (
    ablation_csv,
    ablation_markdown,
    ablation_verdict,
    cell_table,
    render_ablation,
    write_ablation,
)
from study.report.formatting import percent
from study.results.ablation import ablation_table
from study.results.study_results import read_results
from tests.changed_studies import forget_images, leave_one_seed, share_images
from tests.not_none import not_none
from tests.results.test_ablation import (
    MORE,
    PAIRS,
    SITES,
    cell_of,
    edges_of,
    of_pairs,
    searched,
    validated,
    with_rates,
)


def test_no_cell_differs_where_other_images_could_undo_it(ablation_study: Path) -> None:
    table = ablation_table(read_results(ablation_study))
    cell = cell_of(table, "only vision.ln[0:2]")
    assert not_none(not_none(cell.comparison).paired.difference.seeds).high < 0
    known = ablation_verdict(table)
    unknown = ablation_verdict(ablation_table(read_results(forget_images(ablation_study))))
    for sentences, number, differs in ((known, 3, False), (unknown, 4, True)):
        assert sentences[0].startswith(f"{number} of 6 cells differ")
        assert (f"“{cell.label}”: " in " ".join(sentences)) == differs


def test_with_one_seed_no_cell_is_said_to_differ_or_not(ablation_study: Path) -> None:
    table = ablation_table(read_results(leave_one_seed(ablation_study)))
    text = " ".join(ablation_verdict(table))
    for claim in ("differ from", "noise", "Holm", "missed half"):
        assert claim not in text
    assert "Not tested against “base”: " in text
    assert all(f"“{cell.label}”" in text for cell in table.cells)


def test_seeds_of_the_same_training_images_compare_no_cells(ablation_study: Path) -> None:
    table = ablation_table(read_results(share_images(ablation_study, 1.0)))
    text = " ".join(ablation_verdict(table))
    assert "noise" not in text
    assert "Not tested against “base”: " in text
    assert "All seeds trained on the same images" in cell_table(table).note


def test_cells_that_other_labelled_images_could_level_are_within_noise(
    ablation_study: Path,
) -> None:
    table = ablation_table(read_results(share_images(ablation_study, 0.95)))
    assert ablation_verdict(table)[0].startswith("0 of 6 cells differ")
    assert "Δ without vision.ln −2." in cell_table(table).note
    assert "share 95 %" in cell_table(table).note


def test_beside_what_is_within_noise_stands_what_would_be_missed(ablation_study: Path) -> None:
    table = ablation_table(read_results(ablation_study))
    found = not_none(cell_of(table, "only vision.ln[2:4]").comparison).paired.difference
    noise = " ".join(ablation_verdict(table)).split("Within noise, ")[1]
    assert f"“only vision.ln[2:4]” {percent(found.reach)}" in noise
    assert "without vision.ln" not in noise


def test_untested_cells_are_compared_on_validation_and_said_to_be(ablation_study: Path) -> None:
    for path in (ablation_study / "trials").glob("*/reports.jsonl"):
        path.write_text(path.read_text().replace('"test_', '"val_'))
    table = ablation_table(read_results(ablation_study))
    assert table.split == "val"
    assert "nothing was tested" in " ".join(ablation_verdict(table))
    assert "test %" not in ablation_markdown(table)


@pytest.mark.parametrize(
    ("rates", "edge"),
    [
        ((1.0, 0.1, 10.0), None),
        ((1.0, 10.0), "lowest"),
        ((1.0, 0.1), "highest"),
        ((1.0,), None),  # there was nothing to choose
    ],
)
def test_a_rate_at_the_end_of_what_was_tried_is_told(
    ablation_study: Path, rates: tuple[float, ...], edge: str | None
) -> None:
    label = "only text.attn.v.bias"
    tried = [{"bias": rate, "ln": rate} for rate in rates]
    table = ablation_table(searched(read_results(ablation_study), label, *tried))
    assert edges_of(table) == ({label: {"bias": edge, "ln": edge}} if edge else {})
    told = [line for line in ablation_verdict(table) if "learning rates tried" in line]
    assert len(told) == bool(edge)
    assert all(f"At the {edge} of" in line and line.endswith(f": “{label}”.") for line in told)


def test_kinds_with_rates_of_their_own_are_named_where_one_is_at_a_bound(
    ablation_study: Path,
) -> None:
    label = "only text.attn.v.bias"
    tried = [{"bias": bias, "ln": ln} for bias in (0.2, 0.1, 0.4) for ln in (0.3, 0.1)]
    results = searched(read_results(ablation_study), label, *tried)
    table = ablation_table(with_rates(results, {"bias": [0.1, 0.2, 0.4], "ln": [0.1, 0.3]}))
    assert edges_of(table) == {label: {"ln": "highest"}}
    text = " ".join(ablation_verdict(table))
    assert "At the highest of the learning rates tried" in text
    assert f": “{label}” (ln)." in text
    assert "extended" not in text


CASES = yaml.safe_load(Path(__file__).with_name("extended_grids.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("planned", "tried", "told", "record"), CASES)
def test_grids_that_were_extended_are_told_with_the_further_rates(
    ablation_study: Path,
    planned: object,
    tried: list[tuple[float, float]],
    told: str,
    record: str | None,
) -> None:
    label = "only text.attn.v.bias"
    rates = [{"bias": bias, "ln": ln} for bias, ln in tried]
    results = searched(read_results(ablation_study), label, *rates)
    table = ablation_table(with_rates(results, planned))
    (line,) = [line for line in ablation_verdict(table) if "extended" in line]
    assert line.endswith(f": of “{label}” to {told}.")
    rows = {row["label"]: row for row in csv.DictReader(io.StringIO(ablation_csv(table)))}
    assert rows["base"]["added"] == rows["base"]["edges"] == ""
    assert (f"ln: {record}" in rows[label]["added"]) == (record is not None)


def test_chance_is_said_where_the_classes_of_the_test_images_are_known(
    ablation_study: Path,
) -> None:
    table = ablation_table(read_results(ablation_study))
    assert "8.3 % (chance)" in ablation_markdown(table)
    row = next(csv.DictReader(io.StringIO(ablation_csv(table))))
    assert float(row["chance"]) == table.chance
    assert float(row["balanced_mean"]) == not_none(table.cells[0].balanced).mean
    assert cell_table(table).header[2] == "balanced %", "beside the score"


def test_all_files_hold_the_same_cells(ablation_study: Path) -> None:
    table = ablation_table(read_results(ablation_study))
    files = {path.name: path for path in write_ablation(ablation_study, table)}
    drawn = {f"ablation-{name}.{end}" for name in ("forest", "map") for end in ("svg", "png")}
    assert set(files) == {"ablation.csv", "ablation.md", *drawn}
    labels = [cell.label for cell in table.cells]
    rows = list(csv.DictReader(files["ablation.csv"].read_text().splitlines()))
    assert [row["label"] for row in rows] == labels
    assert float(rows[0]["score_mean"]) == table.cells[0].score.mean < 1
    text = files["ablation.md"].read_text()
    assert all(label.replace("[", "\\[") in text for label in labels)


def test_a_base_alone_has_a_table_and_no_plots(ablation_study: Path) -> None:
    results = read_results(ablation_study)
    base = tuple(trial for trial in results.trials if trial.label == "base")
    table = ablation_table(replace(results, trials=base))
    assert len(table.cells) == 1
    assert all(plot.missing_reason for plot in ablation_plots(table))
    assert "differ" not in " ".join(ablation_verdict(table))
    render_ablation(table)


def test_pairs_have_files_and_a_table_of_their_own(ablation_study: Path) -> None:
    results = of_pairs(read_results(ablation_study), MORE, sites=["text.bias", *SITES])
    table = ablation_table(results)
    files = {path.name: path for path in write_ablation(ablation_study, table)}
    rows = list(csv.DictReader(files["interactions.csv"].read_text().splitlines()))
    assert len(rows) == len(table.interactions) == 3
    for row, pair in zip(rows, table.interactions, strict=True):
        assert (row["site"], row["other_site"]) == pair.sites
        assert float(row["both_mean"]) == pair.gains[2].mean
        found = not_none(pair.interaction)
        assert float(row["interaction_mean"]) == found.paired.difference.mean
        assert float(row["interaction_holm_p"]) == found.holm_p
    text = files["ablation.md"].read_text()
    assert "| text.ln1 | vision.ln2 | +10.0 | +21.0 | +35.7 | – | – | " in text
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(render_ablation(table))
    assert "Pairs of sites" in console.export_text()


def test_a_base_that_was_chosen_after_the_test_is_told(ablation_study: Path) -> None:
    results = read_results(ablation_study)
    after = "was made the base after the cells had been tested"
    assert after not in " ".join(ablation_verdict(ablation_table(results)))
    table = ablation_table(results, "without vision.ln")
    assert table.base.label == "without vision.ln"
    assert all(cell.comparison for cell in table.cells if cell is not table.base)
    assert f"“without vision.ln” {after}" in " ".join(ablation_verdict(table))


def test_pairs_are_told_only_where_there_are_any(ablation_study: Path) -> None:
    results = of_pairs(read_results(ablation_study), PAIRS, sites=SITES)
    table = ablation_table(with_rates(results, [0.1], sites=SITES))
    assert "pairs" not in ablation_markdown(table)
    scores = {"none": 0.5, "text.ln1": 0.7, "vision.ln2": 0.6, "text.ln1 + vision.ln2": 0.8}
    table = ablation_table(validated(results, scores))
    assert "“text.ln1” with “vision.ln2” by +25.7 points" in " ".join(ablation_verdict(table))
