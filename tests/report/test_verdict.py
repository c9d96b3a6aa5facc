"""What is said of candidates claims no more than intervals allow."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from study.report.ending import findings
from study.report.formatting import describe_difference
from study.report.judgements import judgement
from study.report.leaderboard_tables import footnote
from study.report.study_description import describe_study
from study.report.verdict import headline, validation_findings, verdict
from study.results.study_result import StudyResult
from tests.changed_studies import board_of, forget_images, leave_one_seed, share_images
from tests.fake_studies import set_images, write_study
from tests.not_none import not_none
from tests.report.conftest import choose_full, choose_other, drop_search, drop_tests


@pytest.mark.parametrize(
    "edge, concluded", [(0.05, "significant"), (0.0, "not significant"), (-0.03, "significant")]
)
def test_a_planned_comparison_is_concluded_by_its_interval(
    make_study: Callable[..., Path], edge: float, concluded: str
):
    board = board_of(make_study(edge=edge))
    comparison = board.comparisons["clipfit-tuned"]
    assert comparison.finding == concluded
    assert (comparison.mean > 0) == (edge >= 0)
    (sentence,) = [text for text in verdict(board) if text.startswith("Against tuned CLIPFit")]
    for words in (describe_difference(comparison), judgement(comparison)):
        assert words in sentence
        assert words in describe_study(board)


def extend(folder: Path):
    """Let the study have been extended after 20 trials and a test."""
    candidates = json.loads((folder / "candidates.json").read_text())
    earlier = [candidate | {"choice": 20} for candidate in candidates]
    extensions = [{"from": 20, "to": 35, "candidates": earlier}]
    (folder / "extensions.json").write_text(json.dumps(extensions))


WIDER = "For other labelled images"
QUALIFIED: list[tuple[Callable[[Path], object], str]] = [
    (lambda folder: set_images(folder, 800, 100, 100, naming_the_largest=True), "no winner"),
    (lambda folder: set_images(folder, 4, 4), "not shown to beat chance"),
    (lambda folder: set_images(folder, 300, 300, 1), "A class has a single test image"),
    (choose_full, "in another way"),
    (partial(choose_other, label="bitfit"), "It was given beforehand"),
    (partial(choose_other, label="clipfit-tuned"), "rates from its own search"),
    (lambda folder: drop_tests(folder, "clipfit-tuned"), "CLIPFit has no test score"),
    (lambda folder: drop_tests(folder, "best"), "no winner to judge"),
    (lambda folder: drop_tests(folder, "*"), "Nothing is tested"),
    (drop_search, "Nothing was searched"),
    (leave_one_seed, "not tested"),
    (forget_images, "No predictions of test images"),
    (partial(share_images, share=1.0), "All seeds trained on the same images"),
    (partial(share_images, share=0.95), WIDER),
    (partial(share_images, share=0.3), "share 30 % of their training images"),
    (extend, "choice from 20 trials had been tested"),
]
"""Changes of a study, and what is said only then."""


def all_said(board: StudyResult) -> str:
    """Return all that is printed of a study in sentences."""
    said = [*(headline(board) or ()), *verdict(board), *validation_findings(board)]
    said += [footnote(board), describe_study(board), *dict(findings(board)).values()]
    return " ".join(said)


@pytest.fixture(scope="module")
def plainly_said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """All that is said of a study that is as it should be."""
    return all_said(board_of(write_study(tmp_path_factory.mktemp("plain") / "glyphs")))


@pytest.mark.parametrize("change, words", QUALIFIED, ids=[words for _, words in QUALIFIED])
def test_a_study_is_qualified_where_it_must_be(
    few_shot_study: Path, plainly_said: str, change: Callable[[Path], object], words: str
):
    change(few_shot_study)
    said = all_said(board_of(few_shot_study))
    assert words in said
    assert words not in plainly_said
    assert (WIDER in said) == (words == WIDER)


def test_what_its_test_score_chose_for_a_comparison_gets_no_verdict(
    make_study: Callable[..., Path],
):
    board = board_of(make_study(edge=-0.06))
    (said,) = [sentence for sentence in verdict(board) if "BitFit" in sentence]
    compared = {entry.label: difference for entry, difference in board.rivals_above_best}
    assert not_none(not_none(compared["bitfit"]).high) < 0
    assert "95 % interval" in said
    assert "not tested" in said
    assert "noise" not in said


def test_what_is_said_of_an_ablation_begins_with_its_cells(ablation_study: Path):
    board = board_of(ablation_study)
    assert "3 of 6 cells" in describe_study(board).split("\n\n")[0]
    assert "3 of 6 cells" in dict(findings(board))["found"]
