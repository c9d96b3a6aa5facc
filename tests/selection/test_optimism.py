"""What to expect of the best validation score, from images that had no part in the choice."""

import io
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
from study.protocols import FewShot, Generalized, Protocol
from study.search.recording import record_epoch
from study.selection.optimism import DRAWS, Optimism, fix_optimism, optimism_of, read_optimism
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


def folder_of(path: Path, rows: Rows, right: Any, protocol: Protocol | None = None) -> StudyFolder:
    """A study whose finished trials get these images right, (trials, images) of truths."""
    folder = StudyFolder(path)
    folder.create("", {})
    for number, own in enumerate(right):
        add(folder, number, rows, own, protocol or FewShot())
    return folder


def add(
    folder: StudyFolder, number: int, rows: Rows, right: Any, protocol: Protocol, **told: Any
) -> None:
    own = trial(trial_id=f"search-{number}", number=number)
    written = folder.trial(own.trial_id)
    written.create(own.model_dump(mode="json"))
    columns = [
        dict(zip(SCHEMA.names, (*row, row[3] if is_right else "other"), strict=True))
        for row, is_right in zip(rows, right, strict=True)
    ]
    contents = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(columns, schema=SCHEMA), contents)
    written.write(VALIDATION, contents.getvalue())
    score = told.get("score", _score(rows, right, protocol))
    written.append_report({"epoch": own.epochs, "val_score": score})
    written.write_end(End("finished", own.epochs, 1.0))


def _score(rows: Rows, right: Any, protocol: Protocol) -> float:
    """The score, computed image by image: folds within parts, classes within folds if averaged."""
    means: dict[str, list[float]] = {}
    for part in dict.fromkeys(row[1] for row in rows):
        for fold in sorted({row[0] for row in rows if row[1] == part}):
            at = [n for n, row in enumerate(rows) if (row[0], row[1]) == (fold, part)]
            labels = sorted({rows[n][3] for n in at}) if protocol.class_averaged else [None]
            groups = [[n for n in at if label in (None, rows[n][3])] for label in labels]
            accuracy = np.mean([np.mean([right[n] for n in group]) for group in groups])
            means.setdefault(part, []).append(float(accuracy))
    return protocol.score({part: float(np.mean(own)) for part, own in means.items()})["score"]


def test_where_no_image_was_wrong_nothing_is_expected() -> None:
    assert Optimism(12, 0.95, 0.93, {}).remark == "the best of 12; expect about 93 %"
    assert "expect" not in Optimism(12, 1.0, 1.0, {}).remark


def test_the_best_of_many_coin_flips_is_expected_to_be_a_coin_flip(tmp_path: Path) -> None:
    rng, best, expected = np.random.default_rng(0), [], []
    for number in range(12):
        right = rng.random((20, 100)) < 0.5
        found = not_none(
            optimism_of(folder_of(tmp_path / f"{number}", images(100, 4), right), FewShot())
        )
        assert found.trials == 20
        assert found.best == pytest.approx(right.mean(axis=1).max())
        best.append(found.best)
        expected.append(found.expected)
    assert np.mean(best) > 0.57
    assert np.mean(expected) == pytest.approx(0.5, abs=0.015)


def test_a_trial_that_is_far_better_than_all_others_keeps_its_score(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    right = rng.random((10, 300)) < np.array([[0.9], *[[0.5]] * 9])
    found = not_none(optimism_of(folder_of(tmp_path / "s", images(300), right), FewShot()))
    assert found.expected == pytest.approx(found.best, abs=0.005)


def test_trials_that_are_right_on_other_images_leave_the_best_nothing(tmp_path: Path) -> None:
    """Of two images each trial gets one; whichever is drawn twice, its trial fails on the other."""
    found = not_none(optimism_of(folder_of(tmp_path / "s", images(2), [(1, 0), (0, 1)]), FewShot()))
    assert (found.best, found.expected) == (0.5, 0.0)


def test_the_expected_score_is_that_of_all_sets_that_can_be_drawn(tmp_path: Path) -> None:
    right = np.array([(1, 1, 0, 0, 1), (0, 1, 1, 1, 0), (0, 0, 1, 1, 1)])
    scores = []
    for drawn in itertools.product(range(5), repeat=5):
        counts = np.bincount(drawn, minlength=5)
        inside = right @ counts
        best = int(np.argmax(inside))
        if (counts == 0).any():
            scores.append(right[best, counts == 0].mean())
    found = not_none(optimism_of(folder_of(tmp_path / "s", images(5), right), FewShot()))
    near = 4 * np.std(scores) / np.sqrt(DRAWS)
    assert found.expected == pytest.approx(np.mean(scores), abs=near)


def test_the_standard_error_of_a_score_is_that_of_a_share(tmp_path: Path) -> None:
    right = [[n % 10 < 8 for n in range(400)], [n % 2 for n in range(400)]]
    errors = not_none(optimism_of(folder_of(tmp_path / "s", images(400), right), FewShot())).errors
    assert errors["search-0"] == pytest.approx(np.sqrt(0.8 * 0.2 / 400), rel=0.1)
    assert errors["search-1"] == pytest.approx(np.sqrt(0.5 * 0.5 / 400), rel=0.1)


def test_an_image_of_several_folds_is_drawn_for_all_of_them(tmp_path: Path) -> None:
    """Else the same image would be left out of one fold and not of another, and tell of both."""
    rows = [(fold, "accuracy", f"{n}.png", "a") for fold in (0, 1) for n in range(2)]
    right = [(1, 0, 1, 0), (0, 1, 0, 1)]
    found = not_none(optimism_of(folder_of(tmp_path / "s", rows, right), FewShot()))
    assert found.expected == 0.0


def test_classes_and_parts_count_as_they_do_in_the_protocols_score(tmp_path: Path) -> None:
    rng, protocol = np.random.default_rng(2), Generalized()
    rows = [
        (fold, part, f"{part}{fold}{n}.png", f"{part} {min(n // 8, 2)}")
        for fold in range(3)
        for part in ("base", "new")
        for n in range(40)
    ]
    right = rng.random((6, len(rows))) < 0.6
    found = not_none(optimism_of(folder_of(tmp_path / "s", rows, right, protocol), protocol))
    assert found.best == pytest.approx(max(_score(rows, own, protocol) for own in right))
    assert 0.5 < found.expected < found.best


@pytest.mark.parametrize(
    "others",
    [
        pytest.param([], id="one trial is no maximum"),
        pytest.param([(9, None), (8, None)], id="validated on other images"),
        pytest.param([(9, 0.7)], id="a score that does not follow from the predictions"),
    ],
)
def test_nothing_is_claimed_of_what_is_not_known(
    tmp_path: Path, others: list[tuple[int, float | None]]
) -> None:
    folder = folder_of(tmp_path / "s", images(9), [[1] * 9])
    for number, (count, score) in enumerate(others, start=1):
        told = {} if score is None else {"score": score}
        add(folder, number, images(count), [0] * count, FewShot(), **told)
    assert optimism_of(folder, FewShot()) is None


def test_nothing_is_claimed_where_a_trial_kept_no_predictions(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "s", images(9), [[1] * 9, [0] * 9])
    assert optimism_of(folder, FewShot()) is not None
    (folder.trial("search-1").path / VALIDATION).unlink()
    assert optimism_of(folder, FewShot()) is None


def test_what_is_written_once_stays_until_the_search_goes_on(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "s", images(20), [[1, 0] * 10, [0, 1] * 10])
    assert read_optimism(folder) is None
    fix_optimism(Study(StudyConfig(), folder))
    before = read_optimism(folder)
    assert before == optimism_of(folder, FewShot())
    add(folder, 2, images(20), [1] * 20, FewShot())
    fix_optimism(Study(StudyConfig(), folder))
    assert read_optimism(folder) == before
    folder.delete_conclusions()
    fix_optimism(Study(StudyConfig(), folder))
    again = not_none(read_optimism(folder))
    assert (again.trials, again.best) == (3, 1.0)


@pytest.mark.parametrize("setting", ["holdout", "folds", "class_folds", "base"])
def test_the_scores_of_real_trials_follow_from_what_they_keep(
    setting: str, tiny_backbone: Path, tmp_path: Path
) -> None:
    folder = StudyFolder(tmp_path / setting)
    folder.create("", {})
    backbone = load_backbone(tiny_backbone)
    own = Study(study(setting, tmp_path), folder)
    data = Preparer(own, backbone.image_size).search()
    for number, (rate, head) in enumerate(((0.01, "text"), (0.05, "text"), (0.05, "linear"))):
        rates = {"bias_lr": rate, "ln_lr": rate}
        given = trial(trial_id=f"search-{number}", number=number, epochs=1, head=head, **rates)
        written = folder.trial(given.trial_id)
        written.create(given.model_dump(mode="json"))
        for report in run_trial(given, data, backbone):
            record_epoch(written, report, data, INFO)
        written.write_end(End("finished", 1, 1.0))
    found = not_none(optimism_of(folder, own.protocol()))
    assert found.trials == 3
    assert 0 <= found.expected <= 1
