"""The ladder as a table, with notes that stand there only where they are true."""

from pathlib import Path

from study.report.formatting import format_difference
from study.report.ladder_table import NOTE, ladder_table
from study.results.ladder import ladder
from tests.changed_studies import board_of
from tests.fake_studies import add_answer, add_candidate
from tests.not_none import not_none
from tests.results.test_ladder import add_tuned_with_head, let_a_peer_win


def test_the_steps_stand_one_below_the_other(few_shot_study: Path) -> None:
    board = board_of(add_answer(few_shot_study))
    rows = ladder_table(board).rows
    assert [row[0] for row in rows] == ["published", "+ rates", "+ subset", "+ strength", "+ head"]
    assert [row[2] for row in rows] == ["given", "its own", "not its own", "not its own", "its own"]
    assert rows[3][3] == "same configuration"
    assert rows[4][1] == "best by validation ★"
    assert rows[4][4] == format_difference(ladder(board).steps[-1].paired)


def test_the_step_to_a_peer_is_not_called_a_subset(few_shot_study: Path) -> None:
    for label in ("best-plain", "best-text"):
        add_candidate(few_shot_study, label, same_as="best")
    let_a_peer_win(few_shot_study, "best")
    titles = [row[0] for row in ladder_table(board_of(few_shot_study)).rows]
    assert titles == ["published", "+ rates", "+ another method", "+ strength", "+ head"]


def test_the_other_order_and_the_means_follow_where_all_corners_are_tested(
    few_shot_study: Path,
) -> None:
    add_answer(few_shot_study)
    board = board_of(add_tuned_with_head(few_shot_study))
    rows = ladder_table(board).rows[5:]
    assert [row[0] for row in rows] == [
        "other order: + head",
        "other order: + subset",
        "subset, mean of both orders",
        "head, mean of both orders",
    ]
    crossing = not_none(ladder(board).crossing)
    steps = [step.paired for step in crossing.other_order]
    shown = [format_difference(paired) for paired in (*steps, *crossing.means.values())]
    assert [row[4] for row in rows] == shown
    assert rows[1][1] == "best by validation ★"


def test_without_the_corner_one_order_is_said_to_be_the_only_one(few_shot_study: Path) -> None:
    board = board_of(add_answer(few_shot_study))
    assert "added last" in ladder_table(board).note
    board = board_of(add_tuned_with_head(few_shot_study))
    assert "added last" not in ladder_table(board).note


def test_rates_of_another_row_are_told_only_where_there_are_any(few_shot_study: Path) -> None:
    for label in ("best-plain", "best-text"):
        add_candidate(few_shot_study, label, same_as="best")
    board = board_of(few_shot_study)
    assert {row[2] for row in ladder_table(board).rows} == {"given", "its own"}
    assert ladder_table(board).note == NOTE
    board = board_of(add_answer(few_shot_study))
    assert "“not its own”" in ladder_table(board).note


def test_a_study_without_a_ladder_has_no_rows(few_shot_study: Path) -> None:
    table = ladder_table(board_of(few_shot_study))
    assert (table.rows, table.note) == ([], NOTE)


def test_the_change_of_strength_and_head_together_is_named(few_shot_study: Path) -> None:
    add_answer(few_shot_study, strength=0.75)
    board = board_of(add_tuned_with_head(few_shot_study, strength=0.75))
    titles = [row[0] for row in ladder_table(board).rows]
    assert "other order: + strength and head" in titles
    assert "strength and head, mean of both orders" in titles
