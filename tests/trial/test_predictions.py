"""A trial keeps the prediction of every test image, the same bytes however often it was resumed."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from study.backbones.backbone import Backbone
from study.protocols.competition import accuracies, hmean
from study.results.bootstrap import make_competition
from study.storage.result_folder import FolderError, JsonObject
from study.storage.study_folder import StudyFolder
from study.trial.predictions import outcomes_of, predictions_to_parquet, read_predictions
from study.trial.run_trial import run_trial
from study.trial.study import Prediction
from tests.case_tables import from_table
from tests.not_none import not_none
from tests.small_trials import Prepare, trial

SOME = [
    Prediction("text", "base", "a/0.png", "ökapi", "zebra", 0.5),
    Prediction("text", "new", "a/0.png", "zebra", "zebra", 0.75),
]

COMPETING = [
    SOME[0]._replace(right_of_kind=True, gap=-0.5),
    SOME[1]._replace(right_of_kind=False, gap=2.0),
]


@pytest.fixture
def study(tmp_path: Path) -> StudyFolder:
    (tmp_path / "trials/t").mkdir(parents=True)
    return StudyFolder(tmp_path)


def test_what_is_written_is_read_and_other_programs_find_a_column_for_each_field(
    study: StudyFolder,
):
    assert read_predictions(study, "t") == []
    fields = Prediction._fields
    grouped = [SOME[0]._replace(group="p1"), SOME[1]._replace(group="p2")]
    cases = [(SOME, fields[:6]), (COMPETING, fields[:8]), ([], fields[:6])]
    cases.append((grouped, (*fields[:6], "group")))
    for predictions, columns in cases:
        study.trial("t").write("predictions.parquet", predictions_to_parquet(predictions))
        assert read_predictions(study, "t") == predictions
        table = pq.read_table(study.trial("t").path / "predictions.parquet")
        assert table.column_names == [*columns]
        assert [tuple(row.values()) for row in table.to_pylist()] == [
            tuple(getattr(prediction, name) for name in columns) for prediction in predictions
        ]


def test_the_predictions_of_a_head_are_read_alone(study: StudyFolder):
    linear = [one._replace(head="linear", predicted="ökapi") for one in SOME]
    study.trial("t").write("predictions.parquet", predictions_to_parquet([*SOME, *linear]))
    assert read_predictions(study, "t", "text") == SOME
    assert read_predictions(study, "t", "linear") == linear
    assert read_predictions(study, "t") == [*SOME, *linear]


@pytest.mark.parametrize("contents", [b"", b"PAR1", predictions_to_parquet(SOME)[:-9]])
def test_a_damaged_file_is_named(study: StudyFolder, contents: bytes):
    study.trial("t").write("predictions.parquet", contents)
    with pytest.raises(FolderError, match=r"t/predictions\.parquet is damaged"):
        read_predictions(study, "t")


def test_what_is_right_and_competes_is_known_by_part_and_class_in_the_order_of_paths():
    right = COMPETING[0]._replace(path="a/1.png", predicted="ökapi", right_of_kind=False, gap=1.5)
    found = not_none(outcomes_of([right, *COMPETING]))
    assert found.right == {("base", "ökapi"): [False, True], ("new", "zebra"): [True]}
    assert found.competing == {
        ("base", "ökapi"): [(True, -0.5), (False, 1.5)],
        ("new", "zebra"): [(False, 2.0)],
    }
    assert outcomes_of([*COMPETING, right]) == found
    assert not not_none(outcomes_of(SOME)).competing
    assert outcomes_of([]) is None


def test_competing_predictions_make_up_the_scores_of_their_trial(
    prepare: Prepare, backbone: Backbone
):
    data = prepare("class_folds").test(1)
    *_, report = run_trial(trial(stage="test", epochs=2), data, backbone)
    one = make_competition(not_none(outcomes_of(report.predictions)), "base")
    assert hmean(*accuracies([one])) == pytest.approx(report.metrics["test_generalized"])


def test_a_trial_keeps_the_groups_of_its_test_images(prepare: Prepare, backbone: Backbone):
    data = prepare("folds").test(1)
    (task,) = data.tasks
    (part,) = task.evaluations
    *_, report = run_trial(trial(stage="test", epochs=1), data, backbone)
    assert not not_none(outcomes_of(report.predictions)).groups
    assert b"group" not in predictions_to_parquet(report.predictions)
    records = tuple(
        replace(record, group=f"burst {number // 2}") for number, record in enumerate(part.records)
    )
    task = replace(task, evaluations=(replace(part, records=records),))
    *_, report = run_trial(trial(stage="test", epochs=1), replace(data, tasks=(task,)), backbone)
    groups = {row.path: row.group for row in report.predictions}
    assert groups == {record.path: record.group for record in records}
    found = not_none(outcomes_of(report.predictions))
    assert {name for names in found.groups.values() for name in names} == {*groups.values()}


def test_an_image_without_a_group_keeps_its_place_among_those_that_have_one():
    groups = ["p1", "", "p1"]
    found = [SOME[0]._replace(path=f"{n}.png", group=name) for n, name in enumerate(groups)]
    assert not_none(outcomes_of(found)).groups == {("base", "ökapi"): groups}


@from_table
def test_trials_are_of_the_same_images_whatever_they_predict(change: JsonObject):
    first, second = SOME
    images = {
        not_none(outcomes_of([prediction, second])).images
        for prediction in (first, first._replace(predicted="ökapi"), first._replace(**change))
    }
    assert len(images) == 2


READ = """
import os, sys
from pathlib import Path
from study.trial.predictions import read_parquet

contents = Path(sys.argv[1]).read_bytes()
before = os.listdir("/proc/self/task")
rows = read_parquet(contents).num_rows
print(rows, os.listdir("/proc/self/task") == before)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="no list of threads")
def test_no_thread_of_arrow_is_left_that_could_abort_the_end_of_the_process(tmp_path: Path):
    path = tmp_path / "predictions.parquet"
    prediction = Prediction("text", "accuracy", "0.png", "cat", "dog", 0.5)
    path.write_bytes(predictions_to_parquet([prediction]))
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1 True\n"
