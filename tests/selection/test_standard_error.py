"""The standard error of a validation score over other images, from what a trial keeps."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from study.backbones.load_backbone import load_backbone
from study.method.delta import DeltaInfo
from study.protocols import FewShot, Generalized, hmean
from study.search.recording import record_epoch
from study.selection.standard_error import standard_error
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
    fold, part, path = others
    head = ["text"] * len(labels)
    values = (fold, head, part, path, labels, predicted, unsure, unsure)
    columns = zip(SCHEMA.names, values, strict=True)
    pq.write_table(pa.table(dict(columns), schema=SCHEMA), written.path / VALIDATION)
    written.append_report({"epoch": own.epochs, "val_score": float(score), "head": "text"})
    written.write_end(End("finished", own.epochs, 1.0))


def test_it_is_that_of_a_share(tmp_path: Path):
    right = [[n % 10 < 8 for n in range(400)], [n % 2 for n in range(400)]]
    folder = folder_of(tmp_path / "s", images(400), right)
    for trial_id, share in (("search-0", 0.8), ("search-1", 0.5)):
        error = np.sqrt(share * (1 - share) / 400)
        found = standard_error(folder, FewShot(), trial_id, share)
        assert found == pytest.approx(error, rel=0.1)


def test_an_image_of_several_folds_is_drawn_for_all_of_them(tmp_path: Path):
    """Else its folds would count as further images, and the score seem surer than it is."""
    rows = [(fold, "accuracy", f"{n}.png", "a") for fold in range(4) for n in range(100)]
    folder = folder_of(tmp_path / "s", rows, [[n % 2 for n in range(100)] * 4])
    found = standard_error(folder, FewShot(), "search-0", 0.5)
    assert found == pytest.approx(np.sqrt(0.5 * 0.5 / 100), rel=0.1)


def test_classes_and_parts_count_as_they_do_in_the_protocols_score(tmp_path: Path):
    right = np.random.default_rng(2).random((3, 2, 40)) < 0.6
    rows = []
    for fold, part, n in itertools.product(range(3), ("base", "new"), range(40)):
        rows.append((fold, part, f"{part}{fold}{n}.png", f"{part} {min(n // 8, 2)}"))
    classes = (right[..., :8], right[..., 8:16], right[..., 16:])
    accuracies = np.mean([own.mean(axis=-1) for own in classes], axis=0)
    score = hmean(*accuracies.mean(axis=0))
    folder = folder_of(tmp_path / "study", rows, right.reshape(1, -1), [score])
    assert 0.02 < not_none(standard_error(folder, Generalized(), "search-0", score)) < 0.1


def test_a_class_that_few_folds_hold_counts_as_much_as_others(tmp_path: Path):
    rows = [(fold, "accuracy", f"{fold}.png", "b") for fold in range(4)]
    rows += [(fold, "accuracy", f"rare {fold}.png", "a") for fold in range(2)]
    folder = folder_of(tmp_path / "study", rows, [[1, 1, 1, 1, 0, 0]], [0.5])
    assert standard_error(folder, FewShot().balanced(), "search-0", 0.5) is not None


def test_nothing_is_claimed_of_what_is_not_known(tmp_path: Path):
    folder = folder_of(tmp_path / "s", images(9), [[1, 0, 0] * 3])
    assert standard_error(folder, FewShot(), "search-0", 1 / 3) is not None
    assert standard_error(folder, FewShot(), "search-0", 0.7) is None, "it has another score"
    (folder.trial("search-0").path / VALIDATION).unlink()
    assert standard_error(folder, FewShot(), "search-0", 1 / 3) is None, "it kept no predictions"


@pytest.mark.parametrize("setting", ["holdout", "folds", "class_folds", "base"])
def test_the_scores_of_real_trials_follow_from_what_they_keep(
    setting: str, tiny_backbone: Path, tmp_path: Path
):
    folder = StudyFolder(tmp_path / setting)
    folder.create("", {})
    backbone = load_backbone(tiny_backbone)
    own = Study(study(setting, tmp_path), folder)
    data = Preparer(own, backbone.image_size).search()
    given = trial(trial_id="search-0", number=0, epochs=1, head="linear", bias_lr=0.05, ln_lr=0.05)
    written = folder.trial(given.trial_id)
    written.create(given.model_dump(mode="json"))
    (report,) = run_trial(given, data, backbone)
    record_epoch(written, report, data, INFO)
    written.write_end(End("finished", 1, 1.0))
    score = report.metrics["val_score"]
    assert not_none(standard_error(folder, own.protocol, "search-0", score)) >= 0
