"""What a study has in the end, whatever it met: each of its trials once, here and in MLflow."""

from mlflow import MlflowClient

from study.storage.study_folder import StudyFolder
from study.tracking.mlflow.run_content import round_significant
from tests.not_none import not_none


def assert_whole(folder: StudyFolder, client: MlflowClient, experiment_id: str):
    """All trials have ended, and MLflow has a run of each, with the score of every epoch."""
    trials = {trial.trial_id: trial for trial in folder.trials()}
    runs = client.search_runs([experiment_id], f"tags.study = '{folder.name}'")
    (parent,) = (run for run in runs if "trial_id" not in run.data.tags)
    children = {run.data.tags["trial_id"]: run for run in runs if run is not parent}
    assert children.keys() == trials.keys()
    assert len(runs) == len(trials) + 1, "a trial has two runs"
    assert {run.info.status for run in runs} == {"FINISHED"}
    for trial_id, trial in trials.items():
        end, reports, run = not_none(trial.read_end()), trial.read_reports(), children[trial_id]
        assert [report["epoch"] for report in reports] in ([0], [*range(1, end.epochs + 1)])
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["ended"] == end.status
        points = client.get_metric_history(run.info.run_id, "val_score")
        scores = {}
        for report in reports:
            if "val_score" in report:
                scores[report["epoch"]] = round_significant(report["val_score"])
        assert len(points) == len(scores)
        assert {point.step: point.value for point in points} == scores
