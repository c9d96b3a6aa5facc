"""A study's own run in MLflow, read back from a real store or server."""

from pathlib import Path

from mlflow import MlflowClient

from study.storage.study_folder import DESCRIPTION
from study.tracking.mlflow.run_content import LONGEST_TEXT
from tests.study_writer import MakeStudy, StudyWriter
from tests.tracking.mlflow.records import artifacts, runs, sync


def test_the_parent_has_configuration_tables_and_description(mlflow_server: str, make: MakeStudy):
    study = make("parent")
    study.folder.write_json("candidates.json", [])
    (study.folder.path / "leaderboard.md").write_text("# best")
    description = "the **best** is here\n\n" * 1000
    (study.folder.path / DESCRIPTION).write_text(description)
    (study.folder.path / "plots").mkdir()
    for name in ("one.png", ".one.png.4711.0a1b2c3d"):  # the other is one that a crash left
        (study.folder.path / "plots" / name).write_bytes(b"png")
    sync(study, mlflow_server)
    parent = runs(mlflow_server, study)[""]
    assert (parent.info.run_name, parent.info.status) == ("parent", "FINISHED")
    params = {"search.trials": "48", "training.momentum": "0.9"}
    assert parent.data.params.items() >= params.items()
    tags = {"dataset": "digits", "backbone": "embedded"}
    tags |= {"mlflow.note.content": description[:LONGEST_TEXT]}
    assert parent.data.tags.items() >= tags.items()
    assert artifacts(mlflow_server, parent) == {
        *("study.yaml", "identity.json", "candidates.json", "leaderboard.md", "plots/one.png"),
        "description.md",
    }


def test_two_studies_of_one_name_are_two_runs(mlflow_store: str, tmp_path: Path):
    for place in ("a", "b"):
        sync(StudyWriter(tmp_path / place / "namesake"), mlflow_store)
    client = MlflowClient(mlflow_store)
    experiment = client.get_experiment_by_name("namesake")
    assert len(client.search_runs([experiment.experiment_id])) == 2
