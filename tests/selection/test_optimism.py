"""What to expect of the best validation score, from images that had no part in the choice."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from study.backbones.load_backbone import load_backbone
from study.config.schema import StudyConfig
from study.method.delta import DeltaInfo
from study.protocols import FewShot, Generalized, hmean
from study.search.recording import record_epoch
from study.selection.optimism import (
    DRAWS,
    Optimism,
    fix_optimism,
    optimism_of,
    read_optimism,
    standard_error,
)
from study.selection.validation import SCHEMA
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import VALIDATION, End
from study.trial.prepare import Preparer
from study.trial.run_trial import run_trial
from study.trial.study import Study
from tests.not_none import not_none
from tests.small_trials import study, trial

INFO = DeltaInfo("tiny", None, "0" * 16, "vision.ln", ("a", "b"), ("a {}",))
Rows = list[tuple[int, str, str, str]]
"""Fold, part, path and label of each validation image."""


def images(count: int, folds: int = 1) -> Rows:
    """As many images of two classes, in folds by turns."""
    return [(n % folds, "accuracy", f"{n}.png", "ab"[n // 2 % 2]) for n in range(count)]


def folder_of(path: Path, rows: Rows, right: Any, scores: Any = None) -> StudyFolder:
    """A study whose finished trials get these images right, (trials, images) of truths.

    The scores of the trials are the shares of these, unless they are given.
    """
    folder = StudyFolder(path)
    folder.create("", {})
    if scores is None:
        scores = np.mean(right, axis=1)
    for own, score in zip(right, scores, strict=True):
        add(folder, rows, own, score)
    return folder


def add(folder: StudyFolder, rows: Rows, right: Any, score: float):
    number = len(list(folder.trials()))
    own = trial(trial_id=f"search-{number}", number=number)
    written = folder.trial(own.trial_id)
    written.create(own.model_dump(mode="json"))
    *others, labels = zip(*rows, strict=True)
    predicted = np.where(np.array(right, bool), labels, "other")
    unsure = [0.5] * len(labels)
    values = (*others, labels, predicted, unsure, unsure)
    columns = zip(SCHEMA.names, values, strict=True)
    pq.write_table(pa.table(dict(columns), schema=SCHEMA), written.path / VALIDATION)
    written.append_report({"epoch": own.epochs, "val_score": float(score)})
    written.write_end(End("finished", own.epochs, 1.0))


def optimism(path: Path, rows: Rows, right: Any) -> Optimism:
    return not_none(optimism_of(folder_of(path / "study", rows, right), FewShot()))


def test_where_no_image_was_wrong_nothing_is_expected():
    assert Optimism(12, 0.95, 0.93, {}).remark == "the best of 12; expect about 93 %"
    assert "expect" not in Optimism(12, 1.0, 1.0, {}).remark


def test_the_expected_score_is_that_of_all_sets_that_can_be_drawn(tmp_path: Path):
    right = np.array([(1, 1, 0, 0, 1), (0, 1, 1, 1, 0), (0, 0, 1, 1, 1)])
    scores = []
    for drawn in itertools.product(range(5), repeat=5):
        counts = np.bincount(drawn, minlength=5)
        inside = right @ counts
        best = int(np.argmax(inside))
        if (counts == 0).any():
            scores.append(right[best, counts == 0].mean())
    found = optimism(tmp_path, images(5), right)
    near = 4 * np.std(scores) / np.sqrt(DRAWS)
    assert found.expected == pytest.approx(np.mean(scores), abs=near)


def test_the_standard_error_of_a_score_is_that_of_a_share(tmp_path: Path):
    right = [[n % 10 < 8 for n in range(400)], [n % 2 for n in range(400)]]
    folder = folder_of(tmp_path / "s", images(400), right)
    errors = not_none(optimism_of(folder, FewShot())).errors
    assert standard_error(folder, FewShot(), "search-0", 0.8) == pytest.approx(errors["search-0"])
    assert standard_error(folder, FewShot(), "search-0", 0.7) is None, "it has another score"
    assert errors["search-0"] == pytest.approx(np.sqrt(0.8 * 0.2 / 400), rel=0.1)
    assert errors["search-1"] == pytest.approx(np.sqrt(0.5 * 0.5 / 400), rel=0.1)


def test_an_image_of_several_folds_is_drawn_for_all_of_them(tmp_path: Path):
    """Else the same image would be left out of one fold and not of another, and tell of both."""
    rows = [(fold, "accuracy", f"{n}.png", "a") for fold in (0, 1) for n in range(2)]
    right = [(1, 0, 1, 0), (0, 1, 0, 1)]
    assert optimism(tmp_path, rows, right).expected == 0.0


def test_classes_and_parts_count_as_they_do_in_the_protocols_score(tmp_path: Path):
    right = np.random.default_rng(2).random((6, 3, 2, 40)) < 0.6
    rows = []
    for fold, part, n in itertools.product(range(3), ("base", "new"), range(40)):
        rows.append((fold, part, f"{part}{fold}{n}.png", f"{part} {min(n // 8, 2)}"))
    classes = (right[..., :8], right[..., 8:16], right[..., 16:])
    accuracies = np.mean([own.mean(axis=-1) for own in classes], axis=0)
    scores = [hmean(*parts) for parts in accuracies.mean(axis=1)]
    folder = folder_of(tmp_path / "study", rows, right.reshape(6, -1), scores)
    found = not_none(optimism_of(folder, Generalized()))
    assert found.best == pytest.approx(max(scores))
    assert 0.5 < found.expected < found.best


def test_a_class_that_few_folds_hold_counts_as_much_as_others(tmp_path: Path):
    rows = [(fold, "accuracy", f"{fold}.png", "b") for fold in range(4)]
    rows += [(fold, "accuracy", f"rare {fold}.png", "a") for fold in range(2)]
    right = [[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0]]
    folder = folder_of(tmp_path / "study", rows, right, [0.5, 0.25])
    assert not_none(optimism_of(folder, FewShot().balanced())).best == 0.5


def test_nothing_is_claimed_of_what_is_not_known(tmp_path: Path):
    right = [[1] * 9, [0] * 9]
    alone = folder_of(tmp_path / "alone", images(9), right[:1])
    assert optimism_of(alone, FewShot()) is None, "one trial is no maximum"
    other = folder_of(tmp_path / "other", images(9), right)
    add(other, images(8), [0] * 8, 0.0)
    assert optimism_of(other, FewShot()) is None, "it was validated on other images"
    unlike = folder_of(tmp_path / "unlike", images(9), right)
    add(unlike, images(9), [0] * 9, 0.7)
    assert optimism_of(unlike, FewShot()) is None, "the score does not follow from predictions"
    folder = folder_of(tmp_path / "lost", images(9), right)
    assert optimism_of(folder, FewShot()) is not None
    (folder.trial("search-1").path / VALIDATION).unlink()
    assert optimism_of(folder, FewShot()) is None, "a trial kept no predictions"


def test_what_is_written_once_stays_until_the_search_goes_on(tmp_path: Path):
    folder = folder_of(tmp_path / "s", images(20), [[1, 0] * 10, [0, 1] * 10])
    assert read_optimism(folder) is None
    own = Study(StudyConfig(), folder)
    fix_optimism(own)
    before = read_optimism(folder)
    assert before == optimism_of(folder, FewShot())
    add(folder, images(20), [1] * 20, 1.0)
    fix_optimism(own)
    assert read_optimism(folder) == before
    folder.delete_conclusions()
    fix_optimism(own)
    again = not_none(read_optimism(folder))
    assert (again.trials, again.best) == (3, 1.0)


@pytest.mark.parametrize("setting", ["holdout", "folds", "class_folds", "base"])
def test_the_scores_of_real_trials_follow_from_what_they_keep(
    setting: str, tiny_backbone: Path, tmp_path: Path
):
    folder = StudyFolder(tmp_path / setting)
    folder.create("", {})
    backbone = load_backbone(tiny_backbone)
    own = Study(study(setting, tmp_path), folder)
    data = Preparer(own, backbone.image_size).search()
    for number, (rate, head) in enumerate(((0.01, "text"), (0.05, "linear"))):
        rates = {"bias_lr": rate, "ln_lr": rate}
        given = trial(trial_id=f"search-{number}", number=number, epochs=1, head=head, **rates)
        written = folder.trial(given.trial_id)
        written.create(given.model_dump(mode="json"))
        (report,) = run_trial(given, data, backbone)
        record_epoch(written, report, data, INFO)
        written.write_end(End("finished", 1, 1.0))
    found = not_none(optimism_of(folder, own.protocol))
    assert found.trials == 2
    assert 0 <= found.expected <= 1
