"""A leaderboard says the same in each form; a sweep has averages beside published ones."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from study.config.labels import PUBLISHED, TUNED
from study.protocols import hmean
from study.report.leaderboard_tables import (
    budget_table,
    leaderboard_markdown,
    leaderboard_records,
    main_table,
    render_leaderboard,
    render_screen,
    target_table,
    write_leaderboard,
)
from study.report.sweep_tables import sweep_summary, sweep_tables, write_sweep_tables
from study.results.study_result import read_study_result
from study.results.sweep_scores import PUBLISHED_AVERAGES, read_sweep
from study.storage.atomic import StorageError
from tests.example_studies import ExampleStudy
from tests.not_none import not_none
from tests.results.conftest import placed


def report_also(folder: Path, **scores: float):
    """Let all tests have further scores."""
    for path in folder.glob("trials/test-*/reports.jsonl"):
        *lines, last = path.read_text().splitlines()
        last = json.dumps(json.loads(last) | scores)
        path.write_text("".join(f"{line}\n" for line in (*lines, last)))


def test_rows_are_sorted_by_test_and_have_columns_for_parts(base_to_new_study: Path):
    result = read_study_result(base_to_new_study)
    table = main_table(result)
    assert table.header[1:5] == ["base %", "new %", "hmean %", "balanced %"]
    means = [row.test.mean for row in result.rows]
    assert means == sorted(means, reverse=True)
    assert [index for index, row in enumerate(table.rows) if "★" in str(row[0])] == [table.marked]
    scores = [row[table.header.index("hmean %")] for row in table.texts]
    assert [float(score.split(" ")[0]) for score in scores] == [
        pytest.approx(100 * mean, abs=0.05) for mean in means
    ]
    assert "±" in scores[0], "an interval is shown"


def test_datasets_have_a_table_and_heads_have_columns_where_there_are_several(few_shot_study: Path):
    report_also(few_shot_study, test_source=0.75, test_dtd=0.25, test_score_text=0.75)
    result = read_study_result(few_shot_study)
    targets = target_table(result)
    assert [row[0] for row in targets.texts] == ["glyphs (source)", "dtd"]
    assert {*targets.texts[1][1:]} == {"25.0 (no interval)"}
    assert "text head" not in main_table(result).header
    report_also(few_shot_study, test_score_linear=0.25)
    table = main_table(read_study_result(few_shot_study))
    start = table.header.index("text head")
    assert table.header[start + 1] == "linear head"
    for row in table.texts:
        assert [cell[:5] for cell in row[start : start + 2]] == ["75.0 ", "25.0 "]


def test_every_form_has_the_same_candidates_and_one_screen_the_best(base_to_new_study: Path):
    ExampleStudy(base_to_new_study).add_linear()
    result = read_study_result(base_to_new_study)
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(render_leaderboard(result))
    printed, markdown = console.export_text(), leaderboard_markdown(result)
    assert max(map(len, printed.splitlines())) <= 100
    write_leaderboard(result)
    rows = [*csv.DictReader((base_to_new_study / "leaderboard.csv").read_text().splitlines())]
    found = [(row["label"], float(row["test_mean"])) for row in rows]
    assert found == [(row.label, row.test.mean) for row in result.rows], "in full"
    assert [row["label"] for row in rows if row["best"] == "True"] == ["best"]
    for row in result.rows:
        assert row.label in printed
        assert f"| {row.label} |" in markdown
    others = [row for row in result.rows if not row.is_best]
    vars(result)["rows"] = [*others * 9, not_none(result.best)]
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(render_screen(result))
    lines = console.export_text().splitlines()
    assert len(lines) <= 39
    assert max(map(len, lines)) <= 80
    assert any("★" in line for line in lines)


def test_a_comparison_has_its_p_where_tuned_clipfit_is_clipfit_as_published(few_shot_study: Path):
    writer = ExampleStudy(few_shot_study)
    published = writer.candidates[PUBLISHED]
    writer.change_candidate(TUNED, settings=published.settings, training=published.training)
    result = read_study_result(few_shot_study)
    row = not_none(result.find_row(TUNED))
    (best,) = (record for record in leaderboard_records(result) if record["best"])
    assert {TUNED, PUBLISHED} <= {*row.labels}
    assert best["versus_tuned_p"] == result.comparisons[row.label].p_value
    assert best["versus_tuned_p"] is not None


def test_what_was_spent_counts_every_trial_once(few_shot_study: Path):
    result = read_study_result(few_shot_study)
    spent = {row[0]: int(str(row[1])) for row in budget_table(result).rows}
    assert spent["test"] == len(result.stage("test"))
    assert sum(spent.values()) == len(result.each_trial)


def test_ours_stand_beside_the_published_averages(base_to_new_study: Path):
    averages, _ = sweep_tables(read_sweep([placed(base_to_new_study, "eurosat")]))
    rows = {row[0]: row[1:] for row in averages.texts}
    row = not_none(read_study_result(base_to_new_study).find_row("clipfit"))
    mean = hmean(row.means["base"].mean, row.means["new"].mean)
    ours = [f"{100 * mean:.2f}", f"{100 * row.test.mean:.2f}", "1", "–"]
    assert rows["clipfit, shots 16"][2:] == ours
    assert rows["CLIPFit (published)"][-2:] == ["11", "arXiv 2409.16718"]
    for published in PUBLISHED_AVERAGES:
        if published.base and published.new:
            assert hmean(published.base, published.new) == pytest.approx(published.hmean, abs=0.01)


def test_the_tables_replace_earlier_ones_and_no_other_file(few_shot_study: Path, tmp_path: Path):
    results = read_sweep([placed(few_shot_study, "dtd", "few_shot")])
    path = write_sweep_tables(results, tmp_path)
    before = path.read_text()
    assert write_sweep_tables(results, tmp_path).read_text() == before
    path.with_suffix(".csv").write_text("name,score\nmine,1\n")
    with pytest.raises(StorageError, match=r"tables\.csv exists but was not written"):
        write_sweep_tables(results, tmp_path)


def test_an_average_is_over_the_datasets_and_beside_no_other_experiment(
    make_study: Callable[..., Path],
):
    folders = [placed(make_study(name), name, "few") for name in ("dtd", "eurosat")]
    sweep = read_sweep(folders)
    averages, by_dataset = sweep_tables(sweep)
    results = [read_study_result(folder) for folder in folders]
    means = {
        label: f"{50 * sum(not_none(result.find_row(label)).test.mean for result in results):.2f}"
        for label in ("clipfit", "clipfit-tuned")
    }
    rows = {row[0]: row[1:] for row in averages.texts}
    assert rows["clipfit, shots 16"] == [means["clipfit"], "2"]
    assert not [name for name in rows if "published" in name]
    assert [row[0] for row in by_dataset.rows] == ["dtd", "eurosat"]
    summary = {row[1]: row[2:] for row in sweep_summary(sweep).texts}
    assert "clipfit, shots 16" not in summary
    assert summary["clipfit-tuned, shots 16"] == [means["clipfit-tuned"], "2"]
