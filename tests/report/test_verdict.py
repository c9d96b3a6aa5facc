"""What is said of candidates claims no more than intervals allow."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from study.report.formatting import format_difference
from study.report.leaderboard_tables import describe_study, footnote
from study.report.verdict import (
    comparison_sentences,
    describe_significance,
    final_model_sentences,
    verdict,
)
from study.results.statistics import MeanInterval, mean_interval
from study.results.study_result import read_study_result
from tests.example_studies import ExampleStudy, search_study

BETTER = replace(mean_interval([0.10, 0.11, 0.12]), holm_p=0.01)


@pytest.mark.parametrize(
    "difference, conclusion",
    [
        (mean_interval([0.1]), "not tested"),
        (replace(BETTER, holm_p=None), "not tested"),
        (replace(mean_interval([-0.1, 0.02, 0.11]), holm_p=0.9), "p 0.900: not significant"),
        (BETTER, "p 0.010: better"),
        (replace(BETTER, mean=-0.11), "p 0.010: worse"),
        (replace(BETTER, holm_p=0.2), "p 0.200: not significant after correction"),
    ],
)
def test_a_difference_is_judged_by_its_interval_and_its_corrected_p(
    difference: MeanInterval, conclusion: str
):
    assert describe_significance(difference) == conclusion


@pytest.mark.parametrize(
    "edge, concluded", [(0.05, "significant"), (0.0, "not significant"), (-0.06, "significant")]
)
def test_a_planned_comparison_alone_is_concluded_and_that_by_its_interval(
    make_study: Callable[..., Path], edge: float, concluded: str
):
    result = read_study_result(make_study(edge=edge))
    comparison = result.comparisons["clipfit-tuned"]
    assert comparison.finding == concluded
    assert (comparison.mean > 0) == (edge >= 0)
    (sentence,) = [text for text in comparison_sentences(result) if "tuned CLIPFit" in text]
    for words in (format_difference(comparison), describe_significance(comparison)):
        assert words in sentence
    # What its test score chose for a comparison gets no verdict.
    chosen = [text for text in verdict(result) if "highest test score" in text]
    assert len(chosen) == (not result.rows[0].is_best)
    assert not {"better", "worse", "significant"} & {*" ".join(chosen).replace(".", "").split()}


QUALIFIED: list[tuple[Callable[[ExampleStudy], object], str]] = [
    (lambda study: study.set_images(800, 100, 100, naming_the_largest=True), "beat chance ("),
    (lambda study: study.set_images(4, 4), "not significantly better than chance"),
    (lambda study: study.set_images(300, 300, 1), "A class has a single test image"),
    (ExampleStudy.choose_full, "cannot be saved as a delta"),
    (lambda study: study.drop("test-clipfit-tuned-*"), "CLIPFit has no test score"),
    (lambda study: study.drop("test-*"), "no test score yet"),
    (ExampleStudy.drop_search, "No search was run"),
    (ExampleStudy.leave_one_seed, "not tested"),
    (ExampleStudy.forget_images, "No predictions were kept"),
    (lambda study: study.share_images(1.0), "All seeds trained on the same images"),
    (lambda study: study.share_images(0.95), "after Nadeau and Bengio"),
    (lambda study: study.share_images(0.3), "share 30 % of their training images"),
]
"""Changes of a study, and what is said only then."""


def all_sentences(folder: Path) -> str:
    result = read_study_result(folder)
    return " ".join([*verdict(result), footnote(result), describe_study(result)])


@pytest.fixture(scope="module")
def plain_sentences(tmp_path_factory: pytest.TempPathFactory) -> str:
    """All that is said of a study that is as it should be."""
    return all_sentences(search_study(tmp_path_factory.mktemp("plain") / "glyphs"))


@pytest.mark.parametrize("change, words", QUALIFIED, ids=[words for _, words in QUALIFIED])
def test_a_study_is_qualified_where_it_must_be(
    few_shot_study: Path, plain_sentences: str, change: Callable[[ExampleStudy], object], words: str
):
    change(ExampleStudy(few_shot_study))
    assert words in all_sentences(few_shot_study)
    assert words not in plain_sentences


def test_a_final_training_has_its_images_and_its_score(few_shot_study: Path):
    assert final_model_sentences(read_study_result(few_shot_study)) == []
    ExampleStudy(few_shot_study).add_final("everything")
    (trial,) = (few_shot_study / "trials").glob("final-*")
    for score in ("over test images alone", "not tested"):
        (sentence,) = final_model_sentences(read_study_result(few_shot_study))
        assert "on 60 images" in sentence
        assert score in sentence
        (trial / "reports.jsonl").write_text('{"epoch": 0, "seconds": 1.0}\n')
