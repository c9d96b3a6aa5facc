"""Base-to-new scores beside published ones: over which datasets, and what is not known."""

from statistics import fmean

import pytest

from study.report.reproduction_tables import comparison_table
from study.results.sweep_scores import PUBLISHED_AVERAGES, PUBLISHED_CLIP


def test_the_figures_of_each_dataset_have_the_published_averages():
    (clip, *_) = PUBLISHED_AVERAGES["base_to_new 16"]
    assert clip[0] == "CLIP"
    for number, average in enumerate(clip[1:3]):
        mean = fmean(pair[number] for pair in PUBLISHED_CLIP.values())
        assert mean == pytest.approx(average, abs=0.006)


def test_a_difference_is_told_over_the_same_datasets_alone():
    ours = {"eurosat": (0.6148, 0.5905), "dtd": (0.5324, 0.5990)}
    table = comparison_table({"zero-shot": ours, "clipfit": ours}, " (mark)")
    rows = {" ".join(row[:2]): " ".join(row[2:]) for row in table.texts}
    assert rows["zero-shot (mark) eurosat"] == "61.48 56.48 +5.0 59.05 64.05 −5.0 60.24 60.03 +0.2"
    assert rows["zero-shot (mark) mean of 2"].startswith("57.36 54.86 +2.5 ")
    assert rows["clipfit (mark) eurosat"] == "61.48 – – 59.05 – – 60.24 – –"
    assert rows["clipfit (mark) mean of 2"] == "57.36 – – 59.48 – – 58.40 – –"
    whole = {name: (base / 100, new / 100) for name, (base, new) in PUBLISHED_CLIP.items()}
    *_, last = comparison_table({"clipfit": whole}).texts
    assert " ".join(last) == "clipfit mean of 11 69.34 – – 74.22 – – 71.70 78.97 −7.3"
