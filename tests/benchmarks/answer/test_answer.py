"""Whole answers: their tables, the studies of a case, and images that no choice has seen."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from study.config.loading import dump_config
from study.errors import ConfigError
from study.results.leaderboard import leaderboard
from study.results.study_results import read_results
from study.storage.study_folder import DESCRIPTION, StudyFolder
from tests.benchmarks.answer import answer, own_images
from tests.benchmarks.answer.answer_tables import (
    LADDER,
    PLANNED,
    Choice,
    answer_tables,
    paired_differences,
    read_choice,
)
from tests.benchmarks.answer.cases import QUICK_CASES, configuration
from tests.embedded.faces import FACES
from tests.embedded.letters import FONTS
from tests.fake_studies import add_answer, write_study


def choice(seed: int, scores: dict[str, float], **trained: str) -> Choice:
    return Choice(seed, scores, {label: label for label in scores} | trained)


CHOICES = [
    choice(1, {"clipfit": 0.7, "clipfit-tuned": 0.9, "peer": 0.88, "best": 0.93}),
    choice(2, {"clipfit": 0.7, "clipfit-tuned": 0.9, "peer": 0.93, "best": 0.92}),
    choice(3, {"clipfit-tuned": 0.91, "peer": 0.86, "best": 0.91}, best="clipfit-tuned"),
]
"""Tuned CLIPFit is the winner of the last, which has not tested published CLIPFit."""


def test_tables_have_means_over_choices_and_planned_comparisons() -> None:
    text = answer_tables("Digits", CHOICES)
    assert "**Digits: 3 choices**" in text
    # 0.93, 0.92, 0.91 have the standard deviation 0.01; t of 2 degrees is 4.303.
    assert "| best | 92.0 ± 2.5 | 3 |" in text
    assert "| clipfit-tuned | 90.3 ± 1.4 | 3 |" in text
    assert "| clipfit | 70.0 (no interval) | 2 |" in text
    # Differences 0.03, 0.02, 0: t = 0.016667 / (0.015275 / √3) = 1.89, p 0.199, twice for Holm.
    assert "| winner − tuned CLIPFit | +1.7 [−2.1, +5.5] | 0.399 |" in text
    assert "| winner − the best peer | +3.0 [−5.6, +11.6] | 0.399 |" in text
    assert "| rates | +20.0" in text


def test_a_pair_that_is_one_configuration_in_all_choices_falls_away() -> None:
    same = [replace(one, trained={**one.trained, "best": "peer"}) for one in CHOICES]
    assert list(paired_differences(same, PLANNED)) == ["tuned CLIPFit"]
    assert list(paired_differences(same, LADDER)) == ["rates"]


def test_a_choice_has_its_best_peer_and_equal_configurations_under_every_label(
    tmp_path: Path,
) -> None:
    board = leaderboard(read_results(add_answer(write_study(tmp_path / "one"))))
    read = read_choice(7, board)
    assert read.seed == 7
    assert read.trained["peer"] == "linear"
    assert read.trained["best-full-strength"] == "best"
    assert read.scores["best-full-strength"] == read.scores["best"]
    winner = board.find_entry("best")
    assert winner is not None
    assert read.scores["best"] == pytest.approx(np.mean([*winner.scores.values()]))


def test_a_study_with_another_configuration_is_not_taken_for_finished(tmp_path: Path) -> None:
    config = configuration("digits", QUICK_CASES["digits"], tmp_path, 1)
    folder = StudyFolder(tmp_path / "digits-1")
    assert not answer.finished(config)
    folder.create(dump_config(config), {})
    (folder.path / DESCRIPTION).write_text("done")
    assert answer.finished(config)
    with pytest.raises(ConfigError, match="seed: is frozen as 1, got 7"):
        answer.finished(config.model_copy(update={"seed": 7}))


def test_no_new_font_is_one_of_the_projects() -> None:
    pytest.importorskip("font_roboto")
    new = {Path(path).name for path in own_images.font_files()}
    assert len(new) == 8
    assert not new & {*FONTS, *(face.file for face in FACES)}
