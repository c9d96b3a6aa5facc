"""Numbers are worded with their uncertainty; settings and candidates have words and names."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from study.config.trial_settings import TrialSettings
from study.report.formatting import (
    duration,
    format_count,
    format_difference,
    format_mean,
    format_rate,
    percent,
    points,
    probability,
)
from study.report.names import candidate_name, entry_name
from study.report.setting_descriptions import configuration_rows, setting_cells, settings_in_words
from study.results.statistics import Interval, mean_interval
from study.results.study_result import read_study_result
from tests.example_studies import ExampleStudy


def test_numbers_have_the_unit_that_reads_well_and_what_is_unknown_is_a_dash():
    assert [*map(points, (0.0123, -0.0123, -0.0001, 0.0))] == ["+1.2", "−1.2", "0.0", "0.0"]
    assert [*map(duration, (0.4, 119, 600, 9000))] == ["0 s", "119 s", "10 min", "2.5 h"]
    assert [*map(probability, (0.0004, 0.0412, None))] == ["<0.001", "0.041", "–"]
    assert (percent(0.12345, 2), percent(None)) == ("12.35", "–")
    assert (format_rate(0.00123456), format_rate(None)) == ("0.00123", "–")
    assert (format_count(11264), format_count(None)) == ("11,264", "–")


def test_an_interval_at_an_end_of_what_is_possible_has_two_ends():
    none = mean_interval([0.5, 0.5])
    tiny = replace(none, low=0.4999, high=0.5001)
    at_end = mean_interval([0.98, 0.99, 1.0], bounded=True)
    shown = [*map(format_mean, (at_end, tiny, none, None))]
    assert shown == ["99.0 [96.5, 100.0]", "50.0 ± <0.1", "50.0 (no interval)", "–"]


def test_a_difference_has_the_interval_that_decides_verdicts():
    seeds = mean_interval([0.01, 0.03])
    assert format_difference(seeds) == "+2.0 [−10.7, +14.7]"
    wider = replace(seeds, wider=Interval(-0.2, 0.24))
    assert format_difference(wider) == "+2.0 [−20.0, +24.0]"
    assert format_difference(mean_interval([0.01])) == "+1.0 (1 seed)"
    assert format_difference(None) == "–"


def test_a_label_of_the_product_has_a_name_and_one_of_the_user_is_its_own():
    for label in ("linear", "clipfit-tuned", "second", "best-of-40"):
        assert candidate_name(label) != label
    for label in ("found-late-1", "mine-of-40"):
        assert candidate_name(label) == label


def test_of_candidates_that_share_a_training_the_ones_that_say_more_are_named():
    tuned = candidate_name("clipfit-tuned")
    for labels, name in (
        (("clipfit-tuned", "second"), f"{tuned}, also second by validation"),
        (("clipfit-tuned", "best", "best-with-delta"), tuned),
        (("best", "best-with-delta"), candidate_name("best")),
    ):
        row: Any = SimpleNamespace(labels=labels)
        assert entry_name(row) == name


def test_a_head_and_alpha_are_named_where_they_are_not_clipfits_own():
    assert settings_in_words(TrialSettings(subset="vision.ln")) == "vision.ln"
    words = settings_in_words(TrialSettings(subset="vision.ln", head="linear", alpha=0.75))
    assert [word in words for word in ("vision.ln", "linear", "0.75")] == [True] * 3
    assert "linear" in settings_in_words(TrialSettings(subset="none", head="linear"))
    assert "linear" not in settings_in_words(TrialSettings(subset="none"))


def test_another_method_is_named_with_its_numbers():
    method = {"method": "lora", "lr": 0.01}
    words = settings_in_words(TrialSettings.model_validate({"subset": "none", "method": method}))
    assert [word in words for word in ("LoRA", "rank 4", "lr 0.01")] == [True] * 3


def test_where_nothing_is_tuned_no_weight_is_shown_and_an_unknown_head_is_a_dash():
    frozen = TrialSettings(subset="none", head="linear", distill_weight=8)
    assert setting_cells(frozen) == ["linear", "1", "–", "–", "–"]
    searched = TrialSettings(
        subset="vision.ln", rates={"ln": 0.01}, distill_weight=8, head=None, alpha=0.75
    )
    assert setting_cells(searched) == ["–", "0.75", "–", "0.01", "8"]


def rows(folder: Path) -> dict[str, str]:
    return dict(configuration_rows(read_study_result(folder)))


def test_each_kind_of_study_has_the_rows_of_what_it_does(few_shot_study: Path):
    assert {"Selection", "Search"} <= rows(few_shot_study).keys()
    ExampleStudy(few_shot_study).configure("search.trials=0")
    assert not {"Selection", "Search", "Cells"} & rows(few_shot_study).keys()
    ExampleStudy(few_shot_study).configure("ablation={design: only_one, rates: [0.01, 0.1]}")
    assert rows(few_shot_study)["Cells"].startswith("only_one of text.mlp")


def test_seeds_name_the_training_images_that_they_share(few_shot_study: Path):
    for overlap, words in ((0.1, ""), (0.314, "share 31 %"), (1.0, "share 100 %")):
        results = replace(read_study_result(few_shot_study), training_overlap=overlap)
        test = dict(configuration_rows(results))["Test"]
        assert words in test
        assert ("share" in test) == bool(words)
