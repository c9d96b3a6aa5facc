"""MLflow behind the interface of a tracker, against a real store."""

import pytest
from mlflow.entities import Run

from study.tracking.mlflow.mlflow_internals import viewing_hints
from tests.faults.proxy import wait_until
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
    run = runs(mlflow_store, study)[""].info
    hints = viewing_hints(mlflow_store, run.experiment_id, run.run_id, view)
    assert lines == ("", hints)


def test_system_metrics_are_on_the_studys_own_run_if_requested(
    mlflow_store: str, study: StudyWriter, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    for asked in (False, True):
        study.configure(f"tracking.system_metrics={asked}")
        tracker = started(study, mlflow_store)
        config = study.whole(0)
        tracker.trial_changed(config.trial_id)
        if asked:
            wait_until(lambda: _system_metrics(runs(mlflow_store, study)[""]))
        assert tracker.close(finished=True).missing == ""
        found = runs(mlflow_store, study)
        assert bool(_system_metrics(found[""])) is asked
        assert not _system_metrics(found["search-0000"])
        assert found[""].info.status == "FINISHED"


def _system_metrics(run: Run) -> set[str]:
    return {key for key in run.data.metrics if key.startswith("system/cpu")}
