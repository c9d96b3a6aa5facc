"""The run of a trial: found, made, renamed, deleted, ended. Doing it twice changes nothing."""

from collections.abc import Mapping, Set
from typing import Any

from mlflow.entities import DatasetInput, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE

from study.storage.atomic import read_if_exists
from study.storage.trial_folder import TrialFolder
from study.tracking.mlflow import run_content
from study.tracking.mlflow.inputs import dataset_inputs
from study.tracking.mlflow.study_run import StudyRun
from study.tracking.mlflow.sync_state import Mark, TrialRecord

TRIAL_TAGS = ("trial_id", "stage", "arm", "label", "split_hash", "config_hash", "taken_from")
"""The tags of a trial's run, as far as the trial has a value of that name."""


class TrialRuns:
    """The runs of a study's trials, each a child of the study's own run.

    Args:
        parent: the study's own run.
    """

    def __init__(self, parent: StudyRun) -> None:
        self._parent, self._client, self._study = parent, parent.client, parent.study
        config, folder = self._study.config, self._study.folder
        # MLflow's pages fetch all tags and parameters of a hundred runs at once. So a run has only
        # those that are shown, filtered by, or read by `study.tracking`; what all trials share is
        # in the parent run.
        self._params = {
            "dataset": config.data.dataset,
            "protocol": config.protocol,
            "backbone": config.backbone.name,
            "shots": str(config.data.shots),
        }
        self._perhaps_there = dict[str, Run | None].fromkeys(t.trial_id for t in folder.trials())
        """The trials that may have a run without a mark in their folder, with the run if it is
        known: the driver that created it died, or the server's answer was lost. Only these are
        searched for, since a search takes longer the more runs there are."""
        self._perhaps_more = set(self._perhaps_there)
        """The trials whose run may have more than its mark says: what an earlier driver sent last.
        If such a trial was trained again, both would be in one run."""
        self._inputs: dict[tuple[str, str], list[DatasetInput]] = {}
        """The datasets of the trials of a split hash and a stage."""

    def open_run(
        self, record: TrialRecord, wanted: Set[run_content.Place]
    ) -> set[run_content.Place]:
        """Find, create or continue the run of a trial, and write it into the trial's mark.

        A run with metrics that the trial has not is of an earlier training. It is deleted, and the
        trial gets a new one, since MLflow keeps every value of a metric at a step.

        Args:
            record: the trial.
            wanted: all metrics of the trial.

        Returns:
            The metrics that the run may have beyond what the mark says.
        """
        if not record.fits_mark:
            self._begin_again(record)
        mark, there = record.mark, set[run_content.Place]()
        if mark.paused:
            self._client.update_run(mark.run_id, status="RUNNING")
            mark.paused = False
        if not mark.run_id:
            there = self._find_or_create(record)
        elif record.trial_id in self._perhaps_more and not mark.closed:
            there = self._metrics(self._client.get_run(mark.run_id))
        if record.is_renamed:
            self._rename(mark.run_id, record.config)
            mark.winner = False
        self._perhaps_more.discard(record.trial_id)
        if there - wanted:
            self._begin_again(record)
            there = self._find_or_create(record)
        record.mark.trial_id = record.trial_id
        return there

    def send_again(self, folder: TrialFolder, listed: Mapping[str, Run]) -> None:
        """Mark a trial as unsent.

        Args:
            folder: the trial's folder.
            listed: the runs that MLflow has, by their ids; that of the trial may be among them.
        """
        mark = Mark.read(folder, self._parent.run_id)
        self._perhaps_there[folder.trial_id] = listed.get(mark.run_id)
        Mark(parent_id=self._parent.run_id).write(folder)

    def _begin_again(self, record: TrialRecord) -> None:
        """Delete the run of a trial that was trained again, and mark the trial as unsent."""
        self._delete(record.mark.run_id)
        self._perhaps_there[record.trial_id] = None
        record.begin_again()

    def _delete(self, run_id: str) -> None:
        """Delete a run; one that is gone already does no harm."""
        try:
            self._client.delete_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise

    def settle(self, trial: TrialFolder, *, winner: bool) -> None:
        """End the run of an interrupted trial, and mark the winner in the run's name."""
        mark = Mark.read(trial, self._parent.run_id)
        if mark.run_id and not mark.closed:
            self._client.set_terminated(mark.run_id, "KILLED")
            mark.paused = True
            mark.write(trial)
        if mark.run_id and mark.winner != winner:
            self._client.update_run(mark.run_id, name=_run_name(trial.read_config(), winner=winner))
            mark.winner = winner
            mark.write(trial)

    def _find_or_create(self, record: TrialRecord) -> set[run_content.Place]:
        """Find or create a trial's run, and mark it; return the metrics it has.

        A run may exist already, created by a driver that died before it wrote the mark. MLflow
        would keep both values of a metric that is sent twice.
        """
        config, there = record.config, set[run_content.Place]()
        inputs = self.inputs(config)  # before a run is made, since storage may be away
        tags, name = self.tags(config), _run_name(config)
        params, description = self.params(config), run_content.describe_trial(config)
        run = self._found(record.trial_id)
        if run is None:
            run = self._client.create_run(
                self._parent.experiment_id,
                start_time=record.began,
                run_name=name,
                tags=tags | {MLFLOW_RUN_NOTE: description},
            )
        else:
            if run.info.run_name != name or not run.data.tags.items() >= tags.items():
                self._rename(run.info.run_id, config)
            there = self._metrics(run)
        run_id = str(run.info.run_id)
        lacking = params.items() - run.data.params.items()
        self._client.log_batch(run_id, params=[Param(key, value) for key, value in lacking])
        if inputs:
            self._client.log_inputs(run_id, datasets=inputs)
            self._parent.add_inputs(inputs)
        record.mark.run_id, record.mark.began = run_id, int(run.info.start_time)
        return there

    def _found(self, trial_id: str) -> Run | None:
        """Return the run that a trial may have without a mark.

        If the trial's folder was deleted meanwhile, as a damaged one has to be, the run is of an
        earlier training, and is deleted.
        """
        known = trial_id in self._perhaps_there
        run = self._perhaps_there.get(trial_id)
        if run is None and (known or self._parent.was_there):
            run = self._unmarked(trial_id)
        if run is not None and not known:
            self._delete(run.info.run_id)
            run = None
        self._perhaps_there[trial_id] = None
        return run

    def _unmarked(self, trial_id: str) -> Run | None:
        """Find a trial's run that no trial's mark names.

        A trial that was renamed keeps its run, which may have its earlier name still.
        """
        found = self._parent.search(f"tags.trial_id = '{trial_id}'")
        trials = self._study.folder.trials() if found else ()
        marked = {Mark.read(trial, self._parent.run_id).run_id for trial in trials}
        return next((run for run in found if run.info.run_id not in marked), None)

    def _metrics(self, run: Run) -> set[run_content.Place]:
        """Return what a run has of metrics."""
        points: list[Metric] = []
        for key in run.data.metrics:
            points += self._client.get_metric_history(run.info.run_id, key)
        return set(map(run_content.place, points))

    def inputs(self, config: Mapping[str, Any]) -> list[DatasetInput]:
        """Return the datasets of a trial; none where its images are not recorded."""
        key = (config["split_hash"], config["stage"])
        if not self._inputs.get(key):  # a study that resumes may write the file anew
            place = self._study.folder.path / "shots"
            path = place / f"tasks-{config['split_hash']}.jsonl"
            tasks = read_if_exists(path, path.read_bytes, existing=place.parent)
            self._inputs[key] = dataset_inputs(
                tasks or b"",
                config["split_hash"],
                evaluated="validation" if config["stage"] == "search" else "test",
                root=self._study.config.data.root,
            )
        return self._inputs[key]

    def tags(self, config: Mapping[str, Any]) -> dict[str, str]:
        """Return the tags that a trial's run is created with."""
        return {
            MLFLOW_PARENT_RUN_ID: self._parent.run_id,
            **self._parent.tags,
            **{key: str(config[key]) for key in TRIAL_TAGS if config.get(key) is not None},
        }

    def params(self, config: Mapping[str, Any]) -> dict[str, str]:
        """Return the parameters of a trial's run."""
        return run_content.trial_params(config) | self._params

    def _rename(self, run_id: str, config: Mapping[str, Any]) -> None:
        """Update a run's name and tags after its trial was renamed."""
        self._client.update_run(run_id, name=_run_name(config))
        tags = [RunTag(key, value) for key, value in self.tags(config).items()]
        self._client.log_batch(run_id, tags=tags)


def _run_name(config: Mapping[str, Any], *, winner: bool = False) -> str:
    name = f"{config['label']} ★" if winner else str(config["label"])
    return f"{name} · seed {config['seed']}" if config["stage"] == "confirm" else name
