"""A study's own run, the parent of its trials' runs. Writing twice changes nothing."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from mlflow.entities import DatasetInput, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from study.storage.atomic import read_if_exists
from study.storage.study_folder import CANDIDATES, CELLS, CHANCE, DESCRIPTION, OPTIMISM
from study.tracking.mlflow import mlflow_internals, server
from study.tracking.mlflow.run_content import PARAMETER_DIGITS, rounded
from study.tracking.mlflow.sync_state import written_at
from study.trial.study import PRECISION, Study

LONGEST_NOTE = 8000
"""The most characters of a description; MLflow cuts a longer one wherever that is."""
STUDY_ARTIFACTS = (
    "study.yaml",
    "identity.json",
    PRECISION,
    "shots",
    CANDIDATES,
    OPTIMISM,
    CHANCE,
    "results.parquet",
    "leaderboard.csv",
    "leaderboard.md",
    CELLS,
    "ablation.csv",
    "ablation.md",
    "interactions.csv",
    "report.html",
    "plots",
)


class StudyRun:
    """The run of a study, and the client of the server that has it.

    Making it connects, and finds or creates the experiment and the run.

    Args:
        study: the study.
        uri: the address of the tracking server or store.

    Raises:
        TrackingError: the server does not answer.
        StorageError: the study's folder cannot be read.
    """

    def __init__(self, study: Study, uri: str) -> None:
        self.study, self.uri = study, uri
        config, folder = study.config, study.folder
        identity = folder.read_identity()
        self.tags = {"study": folder.name, "study_id": identity["study_id"]}
        """The tags of every run of the study."""
        self.own_runs = f"tags.study_id = '{identity['study_id']}'"
        """The condition that all runs of the study meet, in MLflow's syntax."""
        self._inputs: set[str] = set()
        """The digests of the datasets that the run has."""
        began = written_at(folder.config_path, known=folder.path)
        self.client = server.connect(uri, config.tracking.experiment)
        server.ask(
            server.SEVERAL_WITHIN,
            lambda: self._open(began, identity["git_commit"]),
            f"the MLflow tracking server or store {server.redacted(uri)} does not take a run",
        )

    def _open(self, began: int, git_commit: str) -> None:
        """Find or create the experiment and the run, and send the run's parameters."""
        config = self.study.config
        self.experiment_id = self._experiment(config.tracking.experiment)
        found = next(iter(self.search("tags.study_parent = 'yes'")), None)
        self.was_there = found is not None
        """Whether an earlier driver made the run."""
        if found is None:
            found = self.client.create_run(
                self.experiment_id,
                start_time=began,
                run_name=self.study.folder.name,
                tags={
                    "stage": "study",
                    "study_parent": "yes",
                    "dataset": config.data.dataset,
                    "backbone": config.backbone.name,
                    "protocol": config.protocol,
                    "git_commit": git_commit,
                    **self.tags,
                },
            )
        elif found.info.status != "RUNNING":
            self.client.update_run(found.info.run_id, status="RUNNING")
        self.run_id = str(found.info.run_id)
        # The server may have gone before it had all of them. Those it has cannot change.
        params = [
            Param(key, value)
            for key, value in self._params().items()
            if key not in found.data.params
        ]
        for at in range(0, len(params), 100):
            self.client.log_batch(self.run_id, params=params[at : at + 100])

    def _params(self) -> dict[str, str]:
        """Return the run's parameters: the whole configuration, flat, without what is unset."""
        values: dict[str, Any]
        (values,) = pd.json_normalize(self.study.config.model_dump(mode="json")).to_dict("records")
        # The leaderboard of a server looks there, wherever it is asked for.
        values["storage"] = str(self.study.folder.path.absolute().parent)
        del values["tracking.uri"], values["name"]
        return {
            key: str(rounded(value, PARAMETER_DIGITS))[:6000]
            for key, value in values.items()
            if value is not None
        }

    def add_inputs(self, inputs: Sequence[DatasetInput]) -> None:
        """Send the datasets of a trial that the run lacks."""
        lacking = [one for one in inputs if one.dataset.digest not in self._inputs]
        if lacking:
            self.client.log_inputs(self.run_id, datasets=lacking)
            self._inputs |= {one.dataset.digest for one in lacking}

    def attach_results(self) -> None:
        """Send the study's tables, its report and its description."""
        place = self.study.folder.path
        server.send_files(self.client, self.run_id, place, STUDY_ARTIFACTS, known=place)
        description = read_if_exists(place, (place / DESCRIPTION).read_bytes, existing=place)
        if description is not None:
            self.client.set_tag(self.run_id, MLFLOW_RUN_NOTE, shortened(description.decode()))

    def close(self, *, finished: bool) -> None:
        """End the run, when the last of its trials ended.

        Args:
            finished: whether the study ran to its end.
        """
        folder = self.study.folder
        ended = [
            written_at(trial.path / "end.json", known=trial.path.parent)
            for trial in folder.trials()
            if trial.read("end.json") is not None
        ]
        self.client.set_terminated(
            self.run_id,
            "FINISHED" if finished else "KILLED",
            end_time=max(ended, default=None),
        )

    def search(self, condition: str) -> list[Run]:
        """Return the runs of the study that meet a condition."""
        return list(
            self.client.search_runs(
                [self.experiment_id], filter_string=f"{self.own_runs} and {condition}"
            )
        )

    def _experiment(self, name: str) -> str:
        if (found := self.client.get_experiment_by_name(name)) is None:
            try:
                return str(
                    self.client.create_experiment(name, tags=mlflow_internals.experiment_tags())
                )
            except MlflowException:  # another study created it in between
                if (found := self.client.get_experiment_by_name(name)) is None:
                    raise
        return str(found.experiment_id)


def shortened(description: str) -> str:
    """Return a description that MLflow takes, less the last paragraphs and tables if need be."""
    if len(description) <= LONGEST_NOTE:
        return description
    rest = "The rest is in `report.html` among this run's artifacts."
    kept = description[: LONGEST_NOTE - len(f"\n\n{rest}")].split("\n\n")[:-1]
    while kept and kept[-1].startswith("#"):  # a heading, whose table is left out
        kept.pop()
    return "\n\n".join([*kept, rest])
