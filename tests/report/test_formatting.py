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


def test_a_mean_has_the_ends_of_its_interval_and_a_difference_those_that_decide():
    none = mean_interval([0.5, 0.5])
    tiny = replace(none, low=0.4999, high=0.5001)
    at_end = mean_interval([0.98, 0.99, 1.0], bounded=True)
    shown = [*map(format_mean, (at_end, tiny, none, None))]
    assert shown == ["99.0 [96.5, 100.0]", "50.0 ± <0.1", "50.0 (no interval)", "–"]
    seeds = mean_interval([0.01, 0.03])
    wider = replace(seeds, wider=Interval(-0.2, 0.24))
    shown = [*map(format_difference, (seeds, wider, mean_interval([0.01]), None))]
    assert shown == ["+2.0 [−10.7, +14.7]", "+2.0 [−20.0, +24.0]", "+1.0 (1 seed)", "–"]


def test_candidates_of_the_product_have_names_and_those_that_share_a_training_the_telling_ones():
    assert candidate_name("best-of-40") == f"{candidate_name('best')}, of 40 trials"
    for label in ("found-late-1", "mine-of-40"):
        assert candidate_name(label) == label
    tuned = candidate_name("clipfit-tuned")
    for labels, name in (
        (("clipfit-tuned", "second"), f"{tuned}, also second by validation"),
        (("clipfit-tuned", "best", "best-with-delta"), tuned),
        (("best", "best-with-delta"), candidate_name("best")),
    ):
        row: Any = SimpleNamespace(labels=labels)
        assert entry_name(row) == name


def test_settings_are_named_by_what_is_not_clipfits_own():
    lora = {"method": "lora", "lr": 0.01}
    for values, words in (
        ({"subset": "vision.ln"}, {"vision.ln"}),
        ({"subset": "vision.ln", "head": "linear", "alpha": 0.75}, {"vision.ln", "linear", "0.75"}),
        ({"subset": "none", "head": "linear"}, {"linear"}),
        ({"subset": "none"}, set()),
        ({"subset": "none", "method": lora}, {"LoRA", "rank 4", "lr 0.01"}),
    ):
        text = settings_in_words(TrialSettings.model_validate(values))
        known = ("vision.ln", "linear", "0.75", "LoRA", "rank 4", "lr 0.01")
        assert {word for word in known if word in text} == words
    frozen = TrialSettings(subset="none", head="linear", distill_weight=8)
    assert setting_cells(frozen) == ["linear", "1", "–", "–", "–"], "no loss is weighted"
    rates = {"rates": {"ln": 0.01}, "distill_weight": 8}
    searched = TrialSettings.model_validate({"subset": "vision.ln", "alpha": 0.75, **rates})
    undecided = searched.model_copy(update={"head": None})
    assert setting_cells(undecided) == ["–", "0.75", "–", "0.01", "8"]


def test_each_kind_of_study_has_the_rows_of_what_it_does(few_shot_study: Path):
    study = ExampleStudy(few_shot_study)

    def rows(**changes: Any) -> dict[str, str]:
        return dict(configuration_rows(replace(read_study_result(few_shot_study), **changes)))

    assert {"Selection", "Search"} <= rows().keys()
    for overlap, share in ((0.1, ""), (0.314, "31 %"), (1.0, "100 %")):
        test = rows(training_overlap=overlap)["Test"]
        assert (f"share {share}" in test) == ("share" in test) == bool(share)
    study.configure("search.trials=0")
    assert not {"Selection", "Search", "Cells"} & rows().keys()
    study.configure("ablation={design: only_one, rates: [0.01, 0.1]}")
    assert rows()["Cells"].startswith("only_one of text.mlp")
