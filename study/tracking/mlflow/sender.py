"""Send to a trial's run what the ledger has and the run lacks; doing so twice changes nothing."""

from collections.abc import Mapping

from mlflow.entities import DatasetInput, Param, Run, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE

from study.results.chance import balanced_score
from study.results.chosen_configuration import TEST_BALANCED, winners
from study.storage.atomic import read_if_exists
from study.storage.ledger_files import JsonObject
from study.storage.trial_folder import RESULT_FILES, End, TrialFolder
from study.tracking.mlflow import run_content, server
from study.tracking.mlflow.inputs import dataset_inputs
from study.tracking.mlflow.run_content import Reports
from study.tracking.mlflow.study_run import StudyRun
from study.tracking.mlflow.sync_state import Mark, TrialRecord, modified_at
from study.trial.predictions import confusion_of, read_predictions
from study.trial.study import Study

METRICS_PER_CALL = 900
"""The largest number of metrics that one call sends; MLflow accepts up to 1,000."""
TRIAL_ARTIFACTS = ("config.json", *RESULT_FILES)
TRIAL_TAGS = ("trial_id", "stage", "arm", "label", "split_hash", "config_hash")
"""The fields of a trial's configuration that its run has as tags, if they are set."""

_RUN_ENDINGS = {"final": "final model"}
"""What the name of a run ends with, by the stage of its trial."""


class Sender:
    """Sends a study and its trials, whose runs are children of the study's own run.

    A mark in each trial's folder records what was sent. Args and errors are those of `StudyRun`.
    """

    def __init__(self, study: Study, uri: str) -> None:
        self.study = study
        self.study_run = StudyRun(study, uri)
        self.client = self.study_run.client
        config = study.config
        trial_ids = [trial.trial_id for trial in study.folder.trials()]
        # MLflow's pages fetch all tags and parameters of a hundred runs at once. So a run has only
        # those that are shown, filtered by, or read by `study.tracking`; the parent run has what
        # all trials share.
        self._params = {
            "dataset": config.data.dataset,
            "protocol": config.protocol,
            "backbone": config.backbone.name,
            "shots": str(config.data.shots),
        }
        self._unmarked_runs = dict[str, Run | None].fromkeys(trial_ids)
        """The trials that may have a run without a mark in their folder, each with that run or, if
        it has to be searched for, None. Such a run is left if, after its creation, the driver died
        or the server's answer was lost. If the study's own run is new, only these trials are
        searched for, since a search takes longer the more runs there are."""
        self._maybe_newer_than_mark = set(trial_ids)
        """The trials whose run may have more metrics than their mark says, such as those that an
        earlier driver sent last."""
        self._inputs: dict[tuple[str, str], list[DatasetInput]] = {}
        """The datasets of trials, by split hash and stage."""

    def send_trial(self, trial_id: str) -> None:
        """Send what a trial's folder holds and its run lacks.

        Raises:
            StorageError: the folder cannot be read or written.
        """
        record = TrialRecord.from_folder(self.study.folder.trial(trial_id), self.study_run.run_id)
        if not record or record.is_sent:
            return
        scored = add_balanced_score(self.study, record)
        config = record.config
        end = record.end
        has_metrics = end is not None or run_content.has_first_metric(config, record.reports)
        tags = {}
        if end is not None:
            tags = run_content.end_tags(config, record.reports, end)
        present = self._open_run(record)
        mark = record.mark
        if has_metrics:
            points = run_content.trial_metrics(config, scored, end, mark.began, mark.reports)
            missing = [point for point in points if run_content.point_key(point) not in present]
            for start in range(0, len(missing), METRICS_PER_CALL):
                batch = missing[start : start + METRICS_PER_CALL]
                self.client.log_batch(mark.run_id, metrics=batch)
        if end is not None:
            self._send_end(record, end, tags)
        if has_metrics:
            mark.record_sent(record.reports, end)
        mark.write_to(record.folder)

    def _send_end(self, record: TrialRecord, end: End, tags: run_content.Tags) -> None:
        """Send the artifacts and tags of a trial that has ended, and end its run."""
        run_id = record.mark.run_id
        folder = record.folder.path
        server.send_files(self.client, run_id, folder, TRIAL_ARTIFACTS, existing=folder.parent)
        run_tags = [RunTag(key, value) for key, value in tags.items()]
        config = record.config
        chosen = self.params(config, record.reports).items() - self.params(config).items()
        params = [Param(key, value) for key, value in chosen]  # the head, if validation chose it
        self.client.log_batch(run_id, params=params, tags=run_tags)
        end_time = modified_at(folder / "end.json", existing=folder.parent)
        status = run_content.STATUS[end.status]
        self.client.set_terminated(run_id, status, end_time=end_time)

    def close_study(self, *, finished: bool) -> None:
        """Send the study's tables and report, name the runs of what was chosen, and end all runs.

        Those of the best configuration have a mark in their names, since other trials may have the
        same score. An extended search may change both.

        Args:
            finished: whether the study ran to its end.
        """
        self.study_run.attach_results()
        winner_ids = winners(self.study)
        for trial in self.study.folder.trials():
            try:
                self._close_run(trial, winner=trial.trial_id in winner_ids)
            except Exception as error:  # MLflow may refuse one run, which does not stop the others
                if not server.is_refusal(error):
                    raise
        self.study_run.close(finished=finished)

    def _open_run(self, record: TrialRecord) -> set[run_content.PointKey]:
        """Find, create or continue the run of a trial, and write it into the trial's mark.

        A trial that was trained again keeps its run, with the points that the run has already.

        Args:
            record: the trial.

        Returns:
            The metrics that the run may have beyond those in the mark.
        """
        mark = record.mark
        present = set()
        if not record.matches_mark:
            mark.paused |= mark.closed
            mark.reports, mark.closed, mark.digest = 0, False, ""
            server.if_present(self.client.delete_tag, mark.run_id, "error")
        if mark.paused:
            self.client.update_run(mark.run_id, status="RUNNING")
            mark.paused = False
        if not mark.run_id:
            present = self._find_or_create(record)
        elif record.trial_id in self._maybe_newer_than_mark and not mark.closed:
            present = self._metrics(self.client.get_run(mark.run_id))
        return present

    def mark_unsent(self, folder: TrialFolder, listed: Mapping[str, Run]) -> None:
        """Mark a trial as unsent, so that everything of it is sent to its run again.

        Args:
            folder: the trial's folder.
            listed: the runs that MLflow has, by their ids, perhaps with the trial's run.
        """
        mark = Mark.from_folder(folder, self.study_run.run_id)
        self._unmarked_runs[folder.trial_id] = listed.get(mark.run_id)
        Mark(parent_id=self.study_run.run_id).write_to(folder)

    def _close_run(self, trial: TrialFolder, *, winner: bool) -> None:
        """End the run of an interrupted trial, and mark the winner in the run's name."""
        mark = Mark.from_folder(trial, self.study_run.run_id)
        if not mark.run_id:
            return
        if not mark.closed:
            self.client.set_terminated(mark.run_id, "KILLED")
            mark.paused = True
            mark.write_to(trial)
        config = trial.read_config()
        name = self._run_name(config, winner=winner)
        if mark.name != name:
            self._update(mark.run_id, name, self.tags(config))
            mark.name = name
            mark.write_to(trial)

    def _find_or_create(self, record: TrialRecord) -> set[run_content.PointKey]:
        """Find or create a trial's run, and mark it; return the metrics it has.

        A driver that died before it wrote the mark may have created the run. Its metrics must not
        be sent again, since MLflow would keep both values.
        """
        config = record.config
        present = set()
        inputs = self.inputs(config)  # before a run is created, since storage may be missing
        tags = self.tags(config)
        name = self._run_name(config)
        params = self.params(config)
        description = run_content.describe_trial(config)
        run = self._take_unmarked_run(record.trial_id)
        if run is None:
            folder = record.folder.path
            run = self.client.create_run(
                self.study_run.experiment_id,
                start_time=modified_at(folder / "config.json", existing=folder.parent),
                run_name=name,
                tags=tags | {MLFLOW_RUN_NOTE: description},
            )
        else:
            if run.info.run_name != name or not run.data.tags.items() >= tags.items():
                self._update(run.info.run_id, name, tags)
            if record.end is None:
                self.client.update_run(run.info.run_id, status="RUNNING")
            present = self._metrics(run)
            self._maybe_newer_than_mark.add(record.trial_id)
        run_id = str(run.info.run_id)
        missing = params.items() - run.data.params.items()
        self.client.log_batch(run_id, params=[Param(key, value) for key, value in missing])
        if inputs:
            self.client.log_inputs(run_id, datasets=inputs)
            self.study_run.add_inputs(inputs)
        record.mark.run_id = run_id
        record.mark.name = name
        record.mark.began = int(run.info.start_time)
        return present

    def _take_unmarked_run(self, trial_id: str) -> Run | None:
        """Return the run that a trial may have without a mark."""
        existed_at_start = trial_id in self._unmarked_runs
        run = self._unmarked_runs.get(trial_id)
        if run is None and (existed_at_start or self.study_run.existed_before):
            run = self._find_unmarked_run(trial_id)
        self._unmarked_runs[trial_id] = None
        return run

    def _find_unmarked_run(self, trial_id: str) -> Run | None:
        """Find a trial's run that no trial's mark names."""
        runs = self.study_run.search(f"tags.trial_id = '{trial_id}'")
        if not runs:
            return None
        trials = self.study.folder.trials()
        marked = {Mark.from_folder(trial, self.study_run.run_id).run_id for trial in trials}
        return next((run for run in runs if run.info.run_id not in marked), None)

    def _metrics(self, run: Run) -> set[run_content.PointKey]:
        """Return the points of all metrics of a run."""
        return {
            run_content.point_key(point)
            for key in run.data.metrics
            for point in self.client.get_metric_history(run.info.run_id, key)
        }

    def inputs(self, config: JsonObject) -> list[DatasetInput]:
        """Return the datasets of a trial, or an empty list if its images are not recorded."""
        split_hash = config["split_hash"]
        stage = config["stage"]
        key = (split_hash, stage)
        if not self._inputs.get(key):  # a study that resumes may write the file anew
            folder = self.study.folder.path
            path = folder / "shots" / f"tasks-{split_hash}.jsonl"
            tasks = read_if_exists(path, path.read_bytes, existing=folder)
            evaluated = "validation" if stage == "search" else "test"
            root = self.study.config.data.root
            self._inputs[key] = dataset_inputs(
                tasks or b"", split_hash, evaluated=evaluated, root=root
            )
        return self._inputs[key]

    def tags(self, config: JsonObject) -> run_content.Tags:
        """Return the tags with which a trial's run is created."""
        tags = {MLFLOW_PARENT_RUN_ID: self.study_run.run_id, **self.study_run.tags}
        tags |= {key: str(config[key]) for key in TRIAL_TAGS if config.get(key) is not None}
        return tags | {"label": self._label(config)}

    def params(self, config: JsonObject, reports: Reports = ()) -> run_content.Tags:
        """Return the parameters of a trial's run; arguments are those of `trial_params`."""
        return run_content.trial_params(config, reports) | self._params

    def _label(self, config: JsonObject) -> str:
        """Return the label of a trial; that of a test is of the first candidate it tests."""
        label = str(config["label"])
        if config["stage"] == "test":
            for candidate in self.study.candidates() or ():
                if candidate.training == label:
                    return candidate.label
        return label

    def _run_name(self, config: JsonObject, *, winner: bool = False) -> str:
        name = f"{self._label(config)} ★" if winner else self._label(config)
        stage = config["stage"]
        if stage == "test":
            return f"{name} · seed {config['seed']}"
        return f"{name} · {_RUN_ENDINGS[stage]}" if stage in _RUN_ENDINGS else name

    def _update(self, run_id: str, name: str, tags: run_content.Tags) -> None:
        """Update a run's name and tags."""
        self.client.update_run(run_id, name=name)
        self.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])


def add_balanced_score(study: Study, record: TrialRecord) -> Reports:
    """Return a trial's reports, with the balanced score added to the report of a test.

    The score is computed from the predictions, which are written before the report.
    """
    reports = record.reports
    if not reports or run_content.TEST_SCORE not in reports[-1]:
        return reports
    confusion = confusion_of(read_predictions(study.folder, record.trial_id, reports[-1]["head"]))
    balanced = balanced_score(confusion, study.protocol)
    if balanced is None:
        return reports
    return [*reports[:-1], {**reports[-1], TEST_BALANCED: balanced}]
