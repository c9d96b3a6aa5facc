"""What is said of candidates claims no more than intervals allow."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from study.report.formatting import format_mean, percent
from study.report.names import entry_name
from study.report.verdict import (
    SELECTION,
    headline,
    judge_comparison,
    validation_findings,
    verdict,
)
from study.results.leaderboard import Leaderboard
from study.selection.optimism import Optimism
from study.storage.study_folder import Registration
from tests.changed_studies import board_of, forget_images, leave_one_seed, share_images
from tests.fake_ledger import SEEDS
from tests.fake_studies import add_answer, add_candidate, edit_candidates
from tests.not_none import not_none
from tests.report.said_cases import SAID, assert_said, prepare


def said(folder: Path) -> str:
    return " ".join(verdict(board_of(folder)))


@pytest.mark.parametrize("case", SAID["verdict"].values(), ids=SAID["verdict"])
def test_a_verdict_says_what_its_study_shows(
    make_study: Callable[..., Path], case: dict[str, Any]
) -> None:
    folder = make_study(**case.get("study", {}))
    assert_said(said(prepare(folder, case)), case)


def test_a_small_difference_is_called_within_noise(make_study: Callable[..., Path]) -> None:
    board = board_of(make_study(edge=0.0))
    found = board.planned_comparisons["clipfit-tuned"].paired
    assert found.within_noise
    (against_tuned,) = (s for s in verdict(board) if "tuned CLIPFit" in s)
    assert f": within noise; a true difference of {percent(found.difference.reach)} points " in (
        against_tuned
    )


def test_the_ranking_by_validation_is_reported(base_to_new_study: Path) -> None:
    text = " ".join(validation_findings(board_of(base_to_new_study)))
    assert "over 7 candidates: +0." in text
    assert "(p " not in text
    assert "base validation alone would have picked “best by validation”" in text


def test_a_baseline_that_was_not_tested_is_said_to_be_missing(few_shot_study: Path) -> None:
    for path in few_shot_study.glob("trials/confirm-clipfit-tuned-seed*/reports.jsonl"):
        path.unlink()
    text = said(few_shot_study)
    assert "Tuned CLIPFit has no test score" in text
    assert "Against" not in text
    assert SELECTION not in text, "nothing is compared"


def test_configurations_tested_as_given_have_no_winner(few_shot_study: Path) -> None:
    for path in few_shot_study.glob("trials/search-*"):
        shutil.rmtree(path)
    board = board_of(few_shot_study)
    sentence, chance = verdict(replace(board, entries=board.entries[:2]))
    assert sentence.startswith("Nothing was searched; ")
    second = board.entries[1]
    assert f"“{entry_name(board, second)}” {format_mean(second.test)} %" in sentence
    assert "8.3 % (chance)" in chance
    assert validation_findings(board)[0].startswith("There was no choice to make")


def test_a_peer_that_was_not_tested_is_said_to_be_missing(few_shot_study: Path) -> None:
    add_answer(few_shot_study)
    for path in (few_shot_study / "trials").glob("confirm-linear-seed*/reports.jsonl"):
        path.unlink()
    text = said(few_shot_study)
    assert "Linear on frozen CLIP has no test score, so the winner cannot be compared" in text
    assert "the only test" in text


def test_a_gain_that_other_images_could_undo_is_within_noise(few_shot_study: Path) -> None:
    board = board_of(add_answer(few_shot_study))
    found = board.planned_comparisons["clipfit-tuned"]
    difference = found.paired.difference
    assert not_none(difference.seeds).low > 0, "over seeds alone it would be more than noise"
    assert not_none(difference.low) < not_none(difference.images).low < 0
    assert judge_comparison(found).startswith("within noise; ")


def test_with_one_seed_nothing_is_called_noise_or_more_than_noise(
    make_study: Callable[..., Path],
) -> None:
    folder = leave_one_seed(add_answer(make_study(edge=0.05), peer=0.02))
    add_candidate_of_one_seed(folder)
    text = said(folder)
    assert text.count(": not tested") == 3
    for claim in ("noise", "would be missed half the time"):
        assert claim not in text


def add_candidate_of_one_seed(folder: Path) -> None:
    """A baseline above the winner, which is not among the fixed comparisons."""
    add_candidate(folder, "ln", 0.03, val_score=0.5, subset="vision.ln", seeds=SEEDS[:1])
    for path in folder.glob("trials/confirm-ln-*/config.json"):
        path.write_text(path.read_text().replace('"arm": "ln"', '"arm": "baseline"'))


def test_seeds_that_trained_on_the_same_images_test_nothing(
    make_study: Callable[..., Path],
) -> None:
    folder = share_images(make_study(edge=0.05), 1.0)
    text = said(folder)
    assert ": not tested" in text
    assert "interval over test images alone" in text
    assert "noise" not in text
    assert "would be missed half the time" not in text


def test_a_gain_that_other_labelled_images_could_undo_is_within_noise(
    make_study: Callable[..., Path],
) -> None:
    folder = make_study(edge=0.05)
    assert "better, beyond noise" in said(share_images(folder, 0.3))
    text = said(share_images(folder, 0.95))
    assert "beyond noise" not in text
    assert "within noise" in text
    assert ", for other labelled images −" in text


def test_a_baseline_above_the_winner_is_beyond_noise_only_where_images_allow_it(
    make_study: Callable[..., Path],
) -> None:
    folder = make_study(edge=-0.02)
    known = said(folder)
    (sentence,) = (part for part in known.split(". ") if "“all biases (BitFit)”" in part)
    assert "beyond noise" not in sentence
    unknown = said(forget_images(folder))
    assert "“all biases (BitFit)”" in unknown
    assert "beyond noise; a true difference" in unknown


def test_what_is_registered_is_called_so_only_once_it_is(few_shot_study: Path) -> None:
    add_candidate(few_shot_study, "best-with-delta", -0.01, val_score=0.7, subset="vision.ln")
    board = board_of(few_shot_study)
    assert "does is vision.ln: " in verdict(board)[-1]
    found = Registration("clipfit-digits", "1", True, "it is the first")
    assert "which is registered, is vision.ln: " in verdict(replace(board, registration=found))[-1]


def test_a_choice_without_a_score_is_told_apart_from_a_study_without_any(
    few_shot_study: Path,
) -> None:
    for label, expected in (("best", "The choice has no"), ("*", "Nothing is confirmed")):
        for trial in few_shot_study.glob(f"trials/confirm-{label}-seed*"):
            shutil.rmtree(trial)
        assert verdict(board_of(few_shot_study))[0].startswith(expected)


def test_the_headline_has_the_number_first_and_chance_and_zero_shot_beside_it(
    few_shot_study: Path,
) -> None:
    board = board_of(few_shot_study)
    number, rest = not_none(headline(board))
    test = not_none(board.winner).test
    assert number == f"{percent(test.mean)} %"
    ends = f"{percent(test.low)} to {percent(test.high)}"
    assert rest.startswith(f"accuracy on test for the winner (95 % interval {ends}, 5 seeds); ")
    assert "8.3 % (chance)" in rest
    assert "zero-shot CLIP scores 60.0 % (95 % interval " in rest


def test_what_has_parts_is_called_by_their_mean(base_to_new_study: Path) -> None:
    _, rest = not_none(headline(board_of(base_to_new_study)))
    assert rest.startswith("harmonic mean of base and new accuracy")


def test_over_several_datasets_it_is_called_a_mean(few_shot_study: Path) -> None:
    board = board_of(few_shot_study)
    entries = tuple(replace(e, dataset_scores={"a": e.test, "b": e.test}) for e in board.entries)
    _, rest = headline(replace(board, entries=entries)) or ("", "")
    assert rest.startswith("mean accuracy over the target datasets on test for the winner")


def test_without_a_winner_the_headline_calls_it_a_choice(guessing_study: Path) -> None:
    _, rest = not_none(headline(board_of(guessing_study)))
    assert "for the choice" in rest
    assert "winner" not in rest


def test_where_nothing_was_chosen_there_is_no_headline(unconfirmed_study: Path) -> None:
    assert headline(board_of(unconfirmed_study)) is None


DOUBT = "not shown to beat chance"


@pytest.mark.parametrize(("images", "doubted"), [((4, 4), True), ((300, 300), False)])
def test_a_winner_whose_interval_reaches_chance_is_said_to_be_in_doubt(
    make_study: Callable[..., Path], images: tuple[int, ...], doubted: bool
) -> None:
    text = said(make_study(images=images))
    assert (f"The winner is {DOUBT} with 8 test images" in text) == doubted
    assert (DOUBT in text) == doubted


def test_what_does_not_beat_chance_is_not_called_doubtful_as_well(guessing_study: Path) -> None:
    assert DOUBT not in said(guessing_study)


def with_optimism(board: Leaderboard, best: float | None = None) -> Leaderboard:
    """The leaderboard of a study that knows what to expect of the best of 41 trials."""
    score = not_none(not_none(board.chosen).val_score) if best is None else best
    return replace(board, optimism=Optimism(41, score, expected=score - 0.021, errors={}))


def test_the_validation_score_of_the_choice_is_called_the_best_of_many(
    few_shot_study: Path,
) -> None:
    board = board_of(few_shot_study)
    assert "expect" not in " ".join(verdict(board)), "it is not known"
    score = 100 * not_none(not_none(board.chosen).val_score)
    text = " ".join(verdict(with_optimism(board)))
    assert f"{score:.1f} %, the best of 41; expect about {score - 2.1:.0f} %" in text


def test_the_score_of_what_is_not_the_best_by_validation_is_not_called_that(
    few_shot_study: Path,
) -> None:
    board = with_optimism(board_of(few_shot_study), best=0.999)
    assert "expect" not in " ".join(verdict(board))


def test_the_choice_of_a_study_without_a_winner_has_its_validation_score_explained_too(
    guessing_study: Path,
) -> None:
    board = with_optimism(board_of(guessing_study))
    assert board.winner is None
    assert "the best of 41" in " ".join(verdict(board))


def test_where_a_comparison_stands_it_says_once_that_choices_are_in_no_interval(
    few_shot_study: Path,
) -> None:
    sentences = verdict(board_of(few_shot_study))
    assert sentences.count(SELECTION) == 1
    before = sentences[sentences.index(SELECTION) - 1]
    assert before.startswith("Against ")


def test_nothing_is_said_of_choices_where_none_was_made(guessing_study: Path) -> None:
    assert SELECTION not in verdict(board_of(guessing_study))


def doubts(folder: Path) -> str:
    return " ".join(validation_findings(board_of(folder)))


def test_the_rank_correlation_of_those_near_the_best_is_told_only_where_some_differ(
    few_shot_study: Path,
) -> None:
    check = board_of(few_shot_study).validation_check
    assert 3 <= not_none(check.close).n == check.ranked_close < check.ranked
    rho = f"{not_none(check.close).rho:+.2f}".replace("-", "−")
    text = doubts(few_shot_study)
    assert f"among the {not_none(check.close).n} within 2 points" in text
    assert f"it is {rho}" in text

    def spread(candidates: list[dict[str, Any]]) -> None:
        for number, candidate in enumerate(candidates):
            candidate["val_score"] = 0.1 + 0.1 * number

    edit_candidates(few_shot_study, spread)
    text = doubts(few_shot_study)
    assert "it is " not in text
    assert "too few of the 1 within" in text


def test_validation_and_test_agree_on_the_best_only_where_both_have_the_same(
    make_study: Callable[..., Path],
) -> None:
    agree, differ = doubts(make_study("agree", edge=0.05)), doubts(make_study("differ", edge=-0.05))
    same, other = "highest test mean too.", "highest test mean. Against it"
    assert "Of the 7 candidates" in agree
    assert (same in agree, other in agree) == (True, False)
    assert (same in differ, other in differ) == (False, True)


def test_what_was_not_to_be_chosen_does_not_contradict_the_best_by_validation(
    make_study: Callable[..., Path],
) -> None:
    folder = make_study(edge=0.05)
    unchosen = "was not to be chosen"
    assert unchosen not in said(folder) + doubts(folder)
    add_candidate(folder, "best-text", 0.02)
    assert "“winner without its head” has the highest test mean (" in said(folder)
    assert unchosen in said(folder)
    assert "highest test mean too. “winner without its head”" in doubts(folder)
    assert unchosen in doubts(folder)


def test_seeds_of_the_search_that_are_tested_again_are_told(few_shot_study: Path) -> None:
    assert "Seed 1 of the test is the search’s too" in doubts(few_shot_study)
    for path in few_shot_study.glob("trials/search-*/config.json"):
        path.write_text(path.read_text().replace('"seed": 1', '"seed": 77'))
    assert "is the search’s too" not in doubts(few_shot_study)


def test_other_studies_of_the_same_test_images_are_counted(
    make_study: Callable[..., Path],
) -> None:
    folder = make_study("one")
    assert "the same test images" not in said(folder)
    make_study("two")
    assert "1 other study in this storage read the same test images." in said(folder)
    make_study("three")
    assert "2 other studies in this storage read the same test images." in said(folder)
