"""Class accuracies and confusions are means over seeds, beside zero-shot."""

import json
from pathlib import Path

import pytest

from study.analysis.classes import class_accuracies, confusions
from study.analysis.comparison import Leaderboard, leaderboard
from study.analysis.results import Results, read_results


def read(folder: Path) -> tuple[Results, Leaderboard]:
    results = read_results(folder)
    return results, leaderboard(results)


def write_classes(folder: Path, label: str, seed: int, counts: list[list[int]]) -> None:
    trial = folder / f"trials/confirm-{label}-seed{seed}"
    accuracy = {name: counts[i][i] / sum(counts[i]) for i, name in enumerate("ab")}
    (trial / "per_class.json").write_text(json.dumps({"accuracy": accuracy}))
    pairs = [[t, p, n] for t, row in enumerate(counts) for p, n in enumerate(row) if n]
    confusion = {"accuracy": {"classes": ["a", "b"], "pairs": pairs}}
    (trial / "confusion.json").write_text(json.dumps(confusion))


@pytest.fixture
def two_classes(few_shot_study: Path) -> Path:
    for path in (few_shot_study / "trials").glob("*/*.json"):
        if path.name in ("per_class.json", "confusion.json"):
            path.unlink()
    write_classes(few_shot_study, "zero-shot", 1, [[5, 5], [0, 10]])
    write_classes(few_shot_study, "best", 1, [[8, 2], [0, 10]])
    write_classes(few_shot_study, "best", 2, [[10, 0], [4, 6]])
    return few_shot_study


def test_accuracies_are_means_over_seeds_with_the_worst_class_first(two_classes: Path) -> None:
    worst, other = class_accuracies(*read(two_classes))
    assert (worst.true, worst.before, worst.gain) == ("b", 1.0, pytest.approx(-0.2))
    assert worst.after == pytest.approx(0.8)
    assert (other.true, other.before) == ("a", 0.5)
    assert other.after == pytest.approx(0.9)


def test_confusions_are_shares_of_the_true_class_over_all_seeds(two_classes: Path) -> None:
    first, second = confusions(*read(two_classes))
    assert (first.true, first.predicted, first.before) == ("b", "a", 0.0)
    assert first.after == pytest.approx(4 / 20)
    assert (second.true, second.before) == ("a", pytest.approx(5 / 10))
    assert second.after == pytest.approx(2 / 20)


def test_confusions_of_earlier_studies_are_read_too(two_classes: Path) -> None:
    now = confusions(*read(two_classes))
    for label, seed, counts in (
        ("zero-shot", 1, [[5, 5], [0, 10]]),
        ("best", 1, [[8, 2], [0, 10]]),
        ("best", 2, [[10, 0], [4, 6]]),
    ):
        file = two_classes / f"trials/confirm-{label}-seed{seed}/confusion.json"
        file.write_text(json.dumps({"accuracy": {"classes": ["a", "b"], "counts": counts}}))
    assert confusions(*read(two_classes)) == now


def test_without_kept_zero_shot_predictions_nothing_is_said_of_before(two_classes: Path) -> None:
    for name in ("per_class.json", "confusion.json"):
        (two_classes / "trials/confirm-zero-shot-seed1" / name).unlink()
    results, board = read(two_classes)
    assert all(entry.before is None for entry in class_accuracies(results, board))
    assert all(entry.before is None for entry in confusions(results, board))


def test_without_a_winner_there_is_nothing_to_show(few_shot_study: Path) -> None:
    for path in (few_shot_study / "trials").glob("confirm-best-*/reports.jsonl"):
        path.unlink()
    results, board = read(few_shot_study)
    assert class_accuracies(results, board) == ()
    assert confusions(results, board) == ()
