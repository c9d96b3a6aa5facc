"""A study's own run, the parent of its trials' runs; sending twice changes nothing."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
from mlflow.entities import Param, Run
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE

from study.errors import redacted_text
from study.storage.atomic import read_if_exists
from study.storage.study_folder import DESCRIPTION
from study.tracking.mlflow import server
from study.tracking.mlflow.mlflow_internals import experiment_tags
from study.tracking.mlflow.run_content import LONGEST_TEXT, Tags, format_params, modified_at
from study.trial.study import Study

PAGE = 1000
"""The number of runs that one call fetches."""
STUDY_ARTIFACTS = (
    "study.yaml",
    "*.json",
    "*.parquet",
    "*.csv",
    "*.md",
    "*.html",
    "shots",
    "plots",
)


class StudyRun:
    """The run of a study, and the client of the server that has it.

    The constructor connects to the server, and finds or creates the experiment and the run.

    Args:
        study: the study.
        uri: the address of the tracking server or store.

    Raises:
        TrackingError: the server does not answer.
        StorageError: the study's folder cannot be read.
    """

    def __init__(self, study: Study, uri: str) -> None:
        self.study = study
        self.uri = uri
        self._tags = {
            "study": study.folder.name,
            "study_id": study.folder.read_identity()["study_id"],
        }
        self.client = server.connect(uri, study.config.tracking.experiment)
        server.call_mlflow(
            self._open,
            f"the MLflow tracking server or store {redacted_text(uri)} rejects the run",
        )

    def _open(self) -> None:
        """Find or create the experiment and the run, and send the run's parameters."""
        self.experiment_id = self._find_or_create_experiment(self.study.config.tracking.experiment)
        own = f"tags.study_parent = 'yes' and tags.study_id = '{self._tags['study_id']}'"
        found = self.client.search_runs([self.experiment_id], own, max_results=1)
        run = found[0] if found else self._create()
        if run.info.status != "RUNNING":
            self.client.update_run(run.info.run_id, status="RUNNING")
        self.run_id = str(run.info.run_id)
        self.trial_tags = {**self._tags, MLFLOW_PARENT_RUN_ID: self.run_id}
        """The tags that the runs of all trials have."""
        # An earlier call may have sent only some of them. Those cannot change.
        params = [
            Param(key, value) for key, value in self._params().items() if key not in run.data.params
        ]
        self.client.log_batch(self.run_id, params=params)

    def _create(self) -> Run:
        config, folder = self.study.config, self.study.folder
        tags = {
            "stage": "study",
            "study_parent": "yes",
            "dataset": config.data.dataset,
            "backbone": config.backbone.name,
            "protocol": config.protocol,
        }
        return self.client.create_run(
            self.experiment_id,
            start_time=modified_at(folder.config_path, existing=folder.path),
            run_name=folder.name,
            tags=tags | self._tags,
        )

    def _params(self) -> Tags:
        """Return the run's parameters: the whole configuration, flat, without unset keys."""
        config = self.study.config.model_dump(mode="json")
        values: dict[str, Any]
        (values,) = pd.json_normalize(config).to_dict("records")
        values["storage"] = str(self.study.folder.path.absolute().parent)
        del values["tracking.uri"], values["name"]
        return format_params(values)

    def trial_runs(self, condition: str = "") -> Iterator[Run]:
        """Yield the runs of the study's trials, perhaps of those that meet a condition."""
        of_trials = f"tags.study_id = '{self._tags['study_id']}' and tags.trial_id LIKE '%'"
        condition = f"{of_trials} and {condition}" if condition else of_trials
        token = None
        while token != "":
            page = self.client.search_runs(
                [self.experiment_id], condition, max_results=PAGE, page_token=token
            )
            yield from page
            token = page.token or ""

    def close(self, *, finished: bool) -> None:
        """Send the study's tables, report and description, and end the run.

        The run gets the time at which the last of its trials ended.

        Args:
            finished: whether the study ran to its end.
        """
        folder = self.study.folder.path
        ends = [trial.path / "end.json" for trial in self.study.folder.trials()]
        end_times = [modified_at(end, existing=end.parent.parent) for end in ends if end.exists()]
        server.send_files(self.client, self.run_id, folder, STUDY_ARTIFACTS)
        contents = read_if_exists(folder, (folder / DESCRIPTION).read_bytes, existing=folder)
        if contents is not None:
            description = contents.decode()[:LONGEST_TEXT]
            self.client.set_tag(self.run_id, MLFLOW_RUN_NOTE, description)
        status = "FINISHED" if finished else "KILLED"
        self.client.set_terminated(self.run_id, status, end_time=max(end_times, default=None))

    def _find_or_create_experiment(self, name: str) -> str:
        try:
            return str(self.client.create_experiment(name, tags=experiment_tags()))
        except MlflowException:  # an earlier study has created it, or one that starts beside
            experiment = self.client.get_experiment_by_name(name)
            if experiment is None:
                raise
            return str(experiment.experiment_id)
