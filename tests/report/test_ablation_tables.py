"""An ablation's cells are paired with the base by seed, and noise is called noise."""

import csv
import io
import shutil
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import yaml
from rich.console import Console
from scipy import stats
from statsmodels.stats.multitest import multipletests

from study.config.loading import build_config
from study.config.trial_settings import TrialSettings
from study.errors import DataError
from study.method.subsets import parse
from study.report.ablation_tables import (
    AblationTable,
    Cell,
    ablation_markdown,
    ablation_plots,
    ablation_table,
    ablation_verdict,
    cell_table,
    left_out_term,
    only_term,
    render_ablation,
    to_csv,
    write_ablation,
)
from study.report.formatting import percent
from study.results.study_results import Results, read_results
from study.trial.study import Study
from tests.results.conftest import (
    change_json,
    forget_images,
    leave_one_seed,
    share_images,
)


def test_cells_are_paired_with_the_base_and_corrected_together(ablation_study: Path) -> None:
    table = ablation_table(read_results(forget_images(ablation_study)))
    base = list(table.base.scores.values())
    compared = [cell for cell in table.cells if cell is not table.base]
    assert len(compared) == 6
    tests = [stats.ttest_rel(list(cell.scores.values()), base) for cell in compared]
    corrected = multipletests([test.pvalue for test in tests], method="holm")[1]
    for cell, test, holm_p in zip(compared, tests, corrected, strict=True):
        found = cell.comparison
        assert found.paired.difference.mean == pytest.approx(cell.score.mean - np.mean(base))
        assert found.paired.p == pytest.approx(test.pvalue)
        assert found.holm_p == pytest.approx(holm_p)


def test_cells_are_sorted_by_their_mean_and_the_base_stands_among_them(
    ablation_study: Path,
) -> None:
    table = ablation_table(read_results(ablation_study))
    means = [cell.score.mean for cell in table.cells]
    assert means == sorted(means, reverse=True)
    base = table.base
    assert (base.comparison, base.trainable, base.seconds) == (None, 5_120, pytest.approx(18))


def test_no_cell_differs_where_other_images_could_undo_it(ablation_study: Path) -> None:
    table = ablation_table(read_results(ablation_study))
    cell = cell_of(table, "only vision.ln[0:2]")
    assert cell.comparison.paired.difference.seeds.high < 0
    known = ablation_verdict(table)
    unknown = ablation_verdict(ablation_table(read_results(forget_images(ablation_study))))
    for sentences, number, differs in ((known, 3, False), (unknown, 4, True)):
        assert sentences[0].startswith(f"{number} of 6 cells differ")
        assert (f"“{cell.label}”: " in " ".join(sentences)) == differs


def cell_of(table: AblationTable, label: str) -> Cell:
    return next(cell for cell in table.cells if cell.label == label)


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
    found = cell_of(table, "only vision.ln[2:4]").comparison.paired.difference
    noise = " ".join(ablation_verdict(table)).split("Within noise, ")[1]
    assert f"“only vision.ln[2:4]” {percent(found.reach)}" in noise
    assert "without vision.ln" not in noise


def test_an_interval_without_zero_is_still_noise_when_holm_says_so(ablation_study: Path) -> None:
    for seed in (4, 5):
        shutil.rmtree(ablation_study / f"trials/ablation-4-seed{seed}")
    table = ablation_table(read_results(forget_images(ablation_study)))
    cell = cell_of(table, "only vision.ln[0:2]")
    assert not cell.comparison.paired.within_noise
    assert cell.comparison.holm_p > 0.05
    assert not cell.beyond_noise


def test_a_base_without_scores_is_an_error_that_names_the_cells(ablation_study: Path) -> None:
    with pytest.raises(DataError, match=r"'nothing' has no score; cells with one: base, only"):
        ablation_table(read_results(ablation_study), "nothing")


def test_trials_that_did_not_finish_or_belong_to_other_stages_are_left_out(
    few_shot_study: Path, ablation_study: Path
) -> None:
    change_json(ablation_study / "trials/ablation-0-seed1/end.json", status="failed")
    results = read_results(ablation_study)
    more = read_results(few_shot_study).trials
    table = ablation_table(replace(results, trials=results.trials + more))
    assert len(table.cells) == 7
    assert sorted(table.base.scores) == [2, 3, 4, 5]
    assert table.cells[0].comparison.paired.seeds == (2, 3, 4, 5)


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


def edges_of(table: AblationTable) -> dict[str, dict[str, str]]:
    """The cells whose rates are at an end of what was tried."""
    return {cell.label: cell.edges for cell in table.cells if cell.edges}


def with_rates(results: Results, rates: object, **more: object) -> Results:
    """Let the results be of an ablation with these rates."""
    ablation = {"design": "only_one", "rates": rates, **more}
    return replace(results, study=Study(build_config({"ablation": ablation}, "t"), results.folder))


def searched(results: Results, label: str, *rates: dict[str, float]) -> Results:
    """Let a cell be chosen from trials at rates by kind, of which its own are the first."""
    trials = []
    for trial in results.trials:
        own = TrialSettings(subset="text.bias + text.ln", rates=rates[0])
        changes = {"settings": own} if trial.label == label else {}
        trials.append(trial.model_copy(update=changes))
    cell = next(trial for trial in trials if trial.label == label)
    for number, tried in enumerate(rates):
        settings = TrialSettings(subset="text.bias + text.ln", rates=tried)
        changes = {"stage": "search", "trial_id": f"search-{number}", "settings": settings}
        trials.append(cell.model_copy(update=changes))
    return replace(results, trials=tuple(trials))


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
    rows = {row["label"]: row for row in csv.DictReader(io.StringIO(to_csv(table)))}
    assert rows["base"]["added"] == rows["base"]["edges"] == ""
    assert (f"ln: {record}" in rows[label]["added"]) == (record is not None)


def test_chance_is_said_where_the_classes_of_the_test_images_are_known(
    ablation_study: Path,
) -> None:
    table = ablation_table(read_results(ablation_study))
    assert "8.3 % (chance)" in ablation_markdown(table)
    row = next(csv.DictReader(io.StringIO(to_csv(table))))
    assert float(row["chance"]) == table.chance
    assert float(row["balanced_mean"]) == table.cells[0].balanced.mean
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


@pytest.mark.parametrize(
    ("subset", "term"),
    [
        ("vision.ln[0:2]", "vision.ln[0:2]"),
        ("text.bias", "text.bias"),
        ("text.bias + vision.ln", None),
        ("none", None),
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
    assert "differ" not in " ".join(ablation_verdict(table))
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


FOUR = {
    "none": (0.50, 0.52, 0.51),
    "text.ln1": (0.60, 0.61, 0.62),
    "vision.ln2": (0.70, 0.74, 0.72),
    "text.ln1 + vision.ln2": (0.85, 0.88, 0.87),
}
"""Test scores of three seeds; in log-odds on 480 images they interact by 0.519."""


def of_pairs(
    results: Results, scores: dict[str, tuple[float, ...]], base: str = "bitfit", **more: object
) -> Results:
    """An ablation of pairs with the scores of each subset's seeds, one of which is the base."""
    trials = []
    for number, (subset, values) in enumerate(scores.items()):
        for seed, score in enumerate(values, 1):
            changes = {
                "trial_id": f"ablation-{seed}{number:03d}",
                "label": "base" if subset == base else f"only {subset}",
                "settings": TrialSettings(subset=str(parse(subset))),
                "subset_key": subset,
                "seed": seed,
                "test": {"score": score},
            }
            trials.append(results.trials[0].model_copy(update=changes))
    return with_rates(replace(results, trials=tuple(trials)), [0.1], design="pairs", **more)


PAIRS = FOUR | {"bitfit": (0.9, 0.91, 0.92)}
SITES = ["text.ln1", "vision.ln2"]


def validated(results: Results, scores: dict[str, float]) -> Results:
    """Let each subset have a validation score, and a lower one at other rates."""
    cell, trials = results.trials[0], []
    for number, (subset, score) in enumerate(scores.items()):
        for rates, val in (({}, score), ({"ln": 0.9}, 0.99)):
            changes = {
                "trial_id": f"search-{number}{len(rates)}",
                "stage": "search",
                "settings": TrialSettings(subset=str(parse(subset)), rates=rates),
                "subset_key": subset,
                "val": {"score": val},
                "test": {},
            }
            trials.append(cell.model_copy(update=changes))
    return replace(results, trials=(*results.trials, *trials))


def test_the_better_site_is_named_by_validation_at_the_rates_of_the_cell(
    ablation_study: Path,
) -> None:
    results = of_pairs(read_results(ablation_study), PAIRS, sites=SITES)
    (pair,) = ablation_table(results).interactions
    assert [gain.mean for gain in pair.gains] == pytest.approx([0.1, 0.21, 0.3566667])
    assert pair.interaction.paired.difference.mean == pytest.approx(0.5191731)
    assert (pair.better, pair.lead) == (None, None)
    scores = {"none": 0.5, "text.ln1": 0.7, "vision.ln2": 0.6, "text.ln1 + vision.ln2": 0.8}
    table = ablation_table(validated(results, scores))
    (pair,) = table.interactions
    assert pair.better == "text.ln1"
    assert pair.lead.paired.difference.mean == pytest.approx(0.3566667 - 0.1)
    assert "“text.ln1” with “vision.ln2” by +25.7 points" in " ".join(ablation_verdict(table))


def test_only_seeds_of_all_four_cells_count(ablation_study: Path) -> None:
    scores = PAIRS | {"vision.ln2": FOUR["vision.ln2"][:2]}
    results = read_results(ablation_study)
    (pair,) = ablation_table(of_pairs(results, scores, sites=SITES)).interactions
    assert pair.interaction.paired.seeds == (1, 2)
    assert pair.gains[0].mean == pytest.approx((0.1 + 0.09) / 2)
    missing = {subset: values for subset, values in PAIRS.items() if subset != "none"}
    assert ablation_table(of_pairs(results, missing, sites=SITES)).interactions == ()


MORE = PAIRS | {
    "text.bias": (0.55, 0.56, 0.56),
    "text.bias + text.ln1": (0.65, 0.65, 0.68),
    "text.bias + vision.ln2": (0.74, 0.78, 0.78),
}


def test_without_a_list_the_sites_are_the_single_ones(ablation_study: Path) -> None:
    results = of_pairs(read_results(ablation_study), MORE)
    found = {frozenset(pair.sites) for pair in ablation_table(results).interactions}
    sites = ("text.bias", *SITES)
    assert found == {frozenset(pair) for pair in combinations(sites, 2)}


@pytest.mark.parametrize("sites", [{"sites": SITES}, {}])
def test_a_pair_may_be_the_base_itself(ablation_study: Path, sites: dict[str, object]) -> None:
    results = of_pairs(read_results(ablation_study), FOUR, "text.ln1 + vision.ln2", **sites)
    (pair,) = ablation_table(results).interactions
    assert pair.interaction is not None
    assert [gain.mean for gain in pair.gains] == pytest.approx([0.1, 0.21, 0.3566667])


@pytest.mark.parametrize(
    ("site", "base"), [("text.ln1", "text.ln1"), ("text.ln - text.ln2", "bitfit")]
)
def test_a_site_may_be_the_base_itself_or_have_several_terms(
    ablation_study: Path, site: str, base: str
) -> None:
    scores = PAIRS | {site: FOUR["text.ln1"], f"{site} + vision.ln2": FOUR["text.ln1 + vision.ln2"]}
    sites = [site, "vision.ln2"]
    results = of_pairs(read_results(ablation_study), scores, base=base, sites=sites)
    (pair,) = ablation_table(results).interactions
    assert pair.sites == (site, "vision.ln2")
    assert [gain.mean for gain in pair.gains] == pytest.approx([0.1, 0.21, 0.3566667])


def test_other_designs_have_no_interactions(ablation_study: Path) -> None:
    results = of_pairs(read_results(ablation_study), PAIRS, sites=SITES)
    table = ablation_table(with_rates(results, [0.1], sites=SITES))
    assert table.interactions == ()
    assert "pairs" not in ablation_markdown(table)


def test_pairs_have_files_and_a_table_of_their_own(ablation_study: Path) -> None:
    results = of_pairs(read_results(ablation_study), MORE, sites=["text.bias", *SITES])
    table = ablation_table(results)
    files = {path.name: path for path in write_ablation(ablation_study, table)}
    rows = list(csv.DictReader(files["interactions.csv"].read_text().splitlines()))
    assert len(rows) == len(table.interactions) == 3
    for row, pair in zip(rows, table.interactions, strict=True):
        assert (row["site"], row["other_site"]) == pair.sites
        assert float(row["both_mean"]) == pair.gains[2].mean
        found = pair.interaction
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
