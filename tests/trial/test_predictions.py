"""A trial keeps the prediction of every test image, the same bytes however often it was resumed."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from study.backbones.backbone import Backbone
from study.protocols.competition import accuracies, ausuc, hmean
from study.results.bootstrap import make_competition
from study.storage.ledger_files import LedgerError
from study.storage.study_folder import StudyFolder
from study.trial import Prediction
from study.trial.predictions import outcomes_of, predictions_to_parquet, read_predictions
from study.trial.run_trial import run_trial
from tests.small_trials import Prepare, trial

SOME = [
    Prediction("base", "a/0.png", "ökapi", "zebra", 0.5),
    Prediction("new", "a/0.png", "zebra", "zebra", 0.75),
]

COMPETING = [
    SOME[0]._replace(right_of_kind=True, gap=-0.5),
    SOME[1]._replace(right_of_kind=False, gap=2.0),
]


@pytest.fixture
def study(tmp_path: Path) -> StudyFolder:
    (tmp_path / "trials/t").mkdir(parents=True)
    return StudyFolder(tmp_path)


def test_what_is_written_is_read(study: StudyFolder) -> None:
    assert read_predictions(study, "t") == []
    for predictions in (SOME, COMPETING, []):
        study.trial("t").write("predictions.parquet", predictions_to_parquet(predictions))
        assert read_predictions(study, "t") == predictions


def test_other_programs_find_a_column_for_each_field(study: StudyFolder) -> None:
    study.trial("t").write("predictions.parquet", predictions_to_parquet(SOME))
    table = pq.read_table(study.trial("t").path / "predictions.parquet")
    assert table.column_names == ["part", "path", "label", "predicted", "probability"]
    assert [tuple(row.values()) for row in table.to_pylist()] == [p[:5] for p in SOME]
    study.trial("t").write("predictions.parquet", predictions_to_parquet(COMPETING))
    table = pq.read_table(study.trial("t").path / "predictions.parquet")
    assert table.to_pylist() == [p._asdict() for p in COMPETING]


@pytest.mark.parametrize("contents", [b"", b"PAR1", predictions_to_parquet(SOME)[:-9]])
def test_a_damaged_file_is_named(study: StudyFolder, contents: bytes) -> None:
    study.trial("t").write("predictions.parquet", contents)
    with pytest.raises(LedgerError, match=r"t/predictions\.parquet is damaged"):
        read_predictions(study, "t")


def test_what_is_right_is_known_by_part_and_class_in_the_order_of_paths() -> None:
    predictions = [*SOME, Prediction("base", "a/1.png", "ökapi", "ökapi", 0.5)]
    found = outcomes_of(predictions)
    assert found is not None
    assert found.right == {("base", "ökapi"): (False, True), ("new", "zebra"): (True,)}
    assert outcomes_of(reversed(predictions)) == found
    assert outcomes_of([]) is None


def test_what_competes_is_known_in_the_same_order() -> None:
    other = COMPETING[0]._replace(path="a/1.png", right_of_kind=False, gap=1.5)
    found = outcomes_of([COMPETING[1], other, COMPETING[0]])
    assert found is not None
    assert found.competing == {
        ("base", "ökapi"): ((True, -0.5), (False, 1.5)),
        ("new", "zebra"): ((False, 2.0),),
    }
    plain = outcomes_of(SOME)
    assert plain is not None
    assert not plain.competing


def test_competing_predictions_make_up_the_scores_of_their_trial(
    prepare: Prepare, backbone: Backbone
) -> None:
    data = prepare("class_folds").confirm(1)
    *_, report = run_trial(trial(stage="confirm", epochs=2), data, backbone)
    found = outcomes_of(report.predictions)
    assert found is not None
    one = make_competition(found, "base")
    assert hmean(*accuracies([one])) == pytest.approx(report.metrics["test_generalized"])
    assert ausuc([one]) == pytest.approx(report.metrics["test_ausuc"])


@pytest.mark.parametrize("change", [{"part": "new"}, {"path": "b.png"}, {"label": "zebra"}])
def test_trials_are_of_the_same_images_whatever_they_predict(change: dict[str, Any]) -> None:
    one, other = outcomes_of(SOME), outcomes_of([SOME[0]._replace(predicted="ökapi"), SOME[1]])
    changed = outcomes_of([SOME[0]._replace(**change), SOME[1]])
    assert one is not None
    assert other is not None
    assert changed is not None
    assert one.images == other.images != changed.images


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
def test_no_thread_of_arrow_is_left_that_could_abort_the_end_of_the_process(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    prediction = Prediction("accuracy", "0.png", "cat", "dog", 0.5)
    path.write_bytes(predictions_to_parquet([prediction]))
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1 True\n"
