"""MLflow behind the interface of a tracker, against a real store."""

import pytest

from tests.study_writer import StudyWriter
from tests.tracking.mlflow.records import runs, started


@pytest.mark.parametrize(
    "overrides, view", [([], "trials"), (["ablation={design: leave_one_out}"], "tested")]
)
def test_the_end_of_a_study_prints_where_its_trials_are_browsed(
    mlflow_store: str, study: StudyWriter, overrides: list[str], view: str
):
    study.configure(f"tracking.experiment={view}", *overrides)
    tracker = started(study, mlflow_store)
    lines = tracker.close(finished=True)
    hints = dict(lines.hints)
    assert hints.keys() == {"browse", "page", "trials"}
    assert hints["browse"] == f"mlflow ui --backend-store-uri {mlflow_store}"
    run = runs(mlflow_store, study)[""].info
    assert f"/#/experiments/{run.experiment_id}/runs/{run.run_id}?" in hints["page"]
    assert hints["trials"].endswith(f"viewStateShareKey={view}")
    assert lines.missing == ""
