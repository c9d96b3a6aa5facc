"""A study's own run in MLflow, read back from a real store or server."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from study.storage.study_folder import DESCRIPTION
from study.tracking.mlflow.study_run import LONGEST_NOTE
from tests.written_study import MakeStudy, Written, artifacts, runs, sync


def test_the_parent_has_configuration_tables_and_description(
    mlflow_server: str, make: MakeStudy
) -> None:
    study = make("parent")
    study.folder.write_json("candidates.json", [])
    (study.folder.path / "leaderboard.md").write_text("# best")
    study.conclude()
    (study.folder.path / "plots").mkdir()
    (study.folder.path / "plots" / "one.png").write_bytes(b"png")
    sync(study, mlflow_server)
    parent = runs(mlflow_server, study)[""]
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name == "parent"
    assert parent.data.params["search.trials"] == "48"
    assert parent.data.params["training.momentum"] == "0.9"
    assert parent.data.tags["mlflow.note.content"] == "the **best** is here"
    expected = {"dataset": "digits", "backbone": "embedded", "git_commit": "abc123"}
    assert parent.data.tags.items() >= expected.items()
    assert artifacts(mlflow_server, parent) >= {
        *("study.yaml", "identity.json", "candidates.json", "leaderboard.md", "plots/one.png"),
    }


@pytest.mark.parametrize("heading", [[], ["## A further table"]])
def test_a_description_that_is_too_long_loses_its_last_paragraphs_and_says_so(
    mlflow_store: str, make: MakeStudy, heading: list[str]
) -> None:
    study = make(f"talkative-{len(heading)}")
    study.whole(0)
    paragraph = "| a | table |\n| --- | --- |\n" + "| 1 | 2 |\n" * 89 + "| 1 | 2 |"
    (study.folder.path / DESCRIPTION).write_text(
        "\n\n".join(["**won**", *[paragraph] * 8, *heading, paragraph])
    )
    sync(study, mlflow_store)
    note = runs(mlflow_store, study)[""].data.tags["mlflow.note.content"]
    first, *tables, last = note.split("\n\n")
    assert (first, last) == (
        "**won**",
        "The rest is in `report.html` among this run's artifacts.",
    )
    assert set(tables) == {paragraph}
    assert 7000 < len(note) <= LONGEST_NOTE


def test_two_studies_of_one_name_are_two_runs(mlflow_server: str, tmp_path: Path) -> None:
    first, second = (Written(tmp_path / place, "namesake") for place in ("a", "b"))
    first.whole(0)
    for study in (first, second):
        sync(study, mlflow_server)
    client = MlflowClient(mlflow_server)
    experiment = client.get_experiment_by_name("namesake")
    found = client.search_runs([experiment.experiment_id], "tags.study_parent = 'yes'")
    assert len(found) == 2
