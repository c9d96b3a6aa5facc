"""A trial keeps the prediction of every test and validation image, and what follows from them."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from study.protocols import BaseToNew, FewShot, Protocol, hmean
from study.storage.result_folder import FolderError
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import PREDICTIONS, VALIDATION, End, TrialFolder
from study.trial.predictions import (
    beats_chance,
    confusion_of,
    outcomes_of,
    predictions_to_parquet,
    read_parquet,
    read_predictions,
    read_validation,
    trial_scores,
)
from study.trial.study import Prediction
from tests.not_none import not_none

SOME = [
    Prediction("text", "base", "a/0.png", "ökapi", "zebra", 0.5, group="p1"),
    Prediction("text", "new", "a/0.png", "zebra", "zebra", 0.75),
]
LINEAR = [one._replace(head="linear", predicted="ökapi") for one in SOME]


@pytest.fixture
def study(tmp_path: Path) -> StudyFolder:
    (tmp_path / "trials/t").mkdir(parents=True)
    return StudyFolder(tmp_path)


@pytest.fixture
def kept(study: StudyFolder) -> TrialFolder:
    kept = study.trial("t")
    kept.create({})
    return kept


def test_predictions_are_read_by_head(study: StudyFolder, kept: TrialFolder):
    assert read_predictions(study, "t") == []
    for predictions in ([], [*SOME, *LINEAR]):
        kept.write(PREDICTIONS, predictions_to_parquet(predictions))
        assert read_predictions(study, "t") == predictions
        table = pq.read_table(kept.path / PREDICTIONS)
        assert {*table.column_names} == {*Prediction._fields}
        assert [Prediction(**row) for row in table.to_pylist()] == predictions
    assert read_predictions(study, "t", "text") == SOME
    assert read_predictions(study, "t", "linear") == LINEAR


def test_validation_images_are_kept_with_the_fold_whose_model_saw_them(kept: TrialFolder):
    assert read_validation(kept) is None
    text = [
        SOME[0]._replace(path=path, fold=fold, true_probability=0.25)
        for fold, path in enumerate(("0.png", "1.png", "0.png"))
    ]
    linear = [one._replace(head="linear") for one in text]
    kept.write(VALIDATION, predictions_to_parquet([*linear, *text]), recorded=True)
    kept.append_reports({"epoch": 1, "head": "text"})
    assert [Prediction(**row) for row in not_none(read_validation(kept)).to_pylist()] == text
    kept.write_end(End("finished", 1, 1.0))
    (kept.path / VALIDATION).write_bytes(b"other")
    assert kept.damaged() == [VALIDATION]
    kept.reopen()
    assert not (kept.path / VALIDATION).exists()


def without_a_column() -> bytes:
    table = read_parquet(predictions_to_parquet(SOME)).drop_columns("label")
    pq.write_table(table, contents := io.BytesIO())
    return contents.getvalue()


@pytest.mark.parametrize(
    "contents", [b"", predictions_to_parquet(SOME)[:-9], without_a_column()], ids=len
)
def test_a_damaged_file_is_named(study: StudyFolder, kept: TrialFolder, contents: bytes):
    kept.write(PREDICTIONS, contents)
    kept.write(VALIDATION, contents)
    with pytest.raises(FolderError, match=r"t/predictions\.parquet is damaged"):
        read_predictions(study, "t")
    with pytest.raises(FolderError, match=r"validation\.parquet is damaged"):
        read_validation(kept)


def test_what_is_right_is_known_by_part_and_class_in_the_order_of_paths():
    right = SOME[0]._replace(path="a/1.png", predicted="ökapi", group="")
    found = not_none(outcomes_of([right, *SOME]))
    assert found.right == {("base", "ökapi"): [False, True], ("new", "zebra"): [True]}
    assert found.groups == {("base", "ökapi"): ["p1", ""], ("new", "zebra"): [""]}
    assert outcomes_of([*SOME, right]) == found
    pairs = {("base", "ökapi", "zebra"): 1, ("base", "ökapi", "ökapi"): 1}
    assert confusion_of([right, *SOME]) == {**pairs, ("new", "zebra", "zebra"): 1}
    assert not not_none(outcomes_of([right])).groups
    assert outcomes_of([]) is None


@pytest.mark.parametrize("change", [{"part": "new"}, {"path": "b.png"}, {"label": "zebra"}])
def test_trials_are_of_the_same_images_whatever_they_predict(change: dict[str, Any]):
    first, second = SOME
    images = {
        not_none(outcomes_of([prediction, second])).images
        for prediction in (first, first._replace(predicted="ökapi"), first._replace(**change))
    }
    assert len(images) == 2


def scores(
    protocol: Protocol, tasks: Sequence[Mapping[tuple[str, str], Sequence[bool]]]
) -> Mapping[str, float]:
    """The scores of tasks, by whether each image of a part and class is right."""
    found = []
    for fold, task in enumerate(tasks):
        for (part, label), right in task.items():
            for hit in right:
                predicted = label if hit else "other"
                found.append(Prediction("text", part, "", label, predicted, 0.5, fold=fold))
    return trial_scores(found, protocol)


def test_parts_are_averaged_over_tasks_before_the_harmonic_mean():
    tasks = []
    for base, new in ((10, 1), (2, 7)):
        hits = {"base": base, "new": new}
        tasks.append({(part, part): [n < right for n in range(10)] for part, right in hits.items()})
    found = scores(BaseToNew(), tasks)
    assert found["score"] == found["hmean"] == pytest.approx(hmean(0.6, 0.4))


def test_a_class_that_few_folds_hold_counts_as_much_as_others():
    rare, common = ("accuracy", "rare"), ("accuracy", "common")
    folds = [{rare: [False], common: [True]}, {rare: [False], common: [True]}]
    folds += [{common: [True, True]}, {common: [True]}]
    assert scores(FewShot().balanced(), folds)["score"] == 0.5
    assert scores(FewShot(), []) == {}


def test_the_largest_class_alone_is_at_chance_whatever_the_rounding():
    chance = round(2 / 3, 12)
    for score in (2 / 3, chance, sum([chance] * 3) / 3):
        assert not beats_chance(score, chance)
    assert beats_chance(201 / 300, chance)
    assert beats_chance(0.0, None), "of a trial that kept no counts"
