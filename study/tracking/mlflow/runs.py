"""A study's runs: one parent run, and one child per trial. Writing twice changes nothing."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.entities import DatasetInput, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE

from study.selection.chance import balanced_score
from study.selection.choice import TEST_BALANCED
from study.storage.atomic import read_if_there, with_retries
from study.storage.study_folder import CANDIDATES, CELLS, CHANCE, DESCRIPTION, OPTIMISM
from study.storage.trial_folder import KEPT, End, TrialFolder
from study.tracking.mlflow import mlflow_internals, run_content, server
from study.tracking.mlflow.inputs import dataset_inputs
from study.tracking.mlflow.sync_state import Mark
from study.trial.predictions import confusion_of, read_predictions
from study.trial.study import PRECISION, Study

TRIAL_TAGS = ("trial_id", "stage", "arm", "label", "split_hash", "config_hash", "taken_from")
"""The tags of a trial's run, as far as the trial has a value of that name."""
LONGEST_NOTE = 8000
"""The most characters of a description; MLflow cuts a longer one wherever that is."""
BATCH = 900
"""How many metrics one call sends; MLflow accepts up to 1,000."""
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
TRIAL_ARTIFACTS = ("config.json", *KEPT)

Place = tuple[str, int, float]
"""What tells the point of a metric from others: its key, its step and its value."""


class RunWriter:
    """A writer of one study's runs; a mark in each trial's folder records what was sent.

    Making it connects, and finds or creates the experiment and the parent run.

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
        # MLflow's pages fetch all tags and parameters of a hundred runs at once. So a run has only
        # those that are shown, filtered by, or read by `study.tracking`; what all trials share is
        # in the parent run.
        identity = folder.read_identity()
        self._tags = {"study": folder.name, "study_id": identity["study_id"]}
        self.own_runs = f"tags.study_id = '{identity['study_id']}'"
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
        self._of_study: set[str] = set()
        """The digests of the datasets that the study's own run has."""
        began = _written(folder.config_path, known=folder.path)
        self.client = server.connect(uri, config.tracking.experiment)
        server.ask(
            server.SEVERAL_WITHIN,
            lambda: self._open(began, identity["git_commit"]),
            f"the MLflow tracking server or store {server.redacted(uri)} does not take a run",
        )

    def _open(self, began: int, git_commit: str) -> None:
        """Find or create the experiment and the parent run, and send the parent's parameters."""
        config = self.study.config
        self.experiment_id = self._experiment(config.tracking.experiment)
        found = next(iter(self._search("tags.study_parent = 'yes'")), None)
        self._was_there = found is not None
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
                    **self._tags,
                },
            )
        elif found.info.status != "RUNNING":
            self.client.update_run(found.info.run_id, status="RUNNING")
        self.parent_id = str(found.info.run_id)
        (values,) = pd.json_normalize(config.model_dump(mode="json")).to_dict("records")
        # The leaderboard of a server looks there, wherever it is asked for.
        values["storage"] = str(self.study.folder.path.absolute().parent)
        # The server may have gone before it had all of them. Those it has cannot change.
        known = {"tracking.uri", "name", *found.data.params}
        params = [
            Param(key, str(run_content.rounded(value, run_content.PARAMETER_DIGITS))[:6000])
            for key, value in values.items()
            if value is not None and key not in known
        ]
        for at in range(0, len(params), 100):
            self.client.log_batch(self.parent_id, params=params[at : at + 100])

    def sync_trial(self, trial_id: str) -> None:
        """Send what a trial's folder holds and its run lacks.

        Raises:
            StorageError: the folder cannot be read or written.
        """
        folder = self.study.folder.trial(trial_id)
        trials = folder.path.parent
        if folder.read("config.json") is None:  # it has been renamed
            return
        mark = Mark.read(folder, self.parent_id)
        # Read the end first: otherwise it might be written between the two reads, and the last
        # report would be missing.
        end, reports = folder.read_end(), folder.read_reports()
        if not mark.fits(reports, end):
            self._delete(mark.run_id)
            self.send_again(trial_id, {})
            mark = Mark(parent_id=self.parent_id)
        if mark.closed and mark.trial_id in ("", trial_id):
            return
        if mark.paused:
            self.client.update_run(mark.run_id, status="RUNNING")
            mark.paused = False
        config, began = folder.read_config(), _written(folder.path / "config.json", known=trials)
        there = set[Place]()
        if not mark.run_id:
            mark.run_id, mark.began, there = self._trial_run(config, began)
        else:
            if trial_id in self._perhaps_more and not mark.closed:
                there = self._places(self.client.get_run(mark.run_id))
            if mark.trial_id not in ("", trial_id):
                self._retag(mark.run_id, config)
                mark.winner = False
        self._perhaps_more.discard(trial_id)
        scored = self._with_balanced(trial_id, reports)
        if there - {_place(point) for point in _points(config, scored, end, mark.began)}:
            self._delete(mark.run_id)  # it is of an earlier training
            self.send_again(trial_id, {})
            mark = Mark(parent_id=self.parent_id)
            mark.run_id, mark.began, there = self._trial_run(config, began)
        mark.trial_id = trial_id
        if end is not None or run_content.has_begun(config, reports):
            points = _points(config, scored, end, mark.began, mark.reports)
            points = [point for point in points if _place(point) not in there]
            for at in range(0, len(points), BATCH):
                self.client.log_batch(mark.run_id, metrics=points[at : at + BATCH])
            mark.note(reports, end)
        if end is not None:
            server.send_files(self.client, mark.run_id, folder.path, TRIAL_ARTIFACTS, known=trials)
            tags = run_content.end_tags(config, reports, end)
            self.client.log_batch(mark.run_id, tags=[RunTag(k, v) for k, v in tags.items()])
            self.client.set_terminated(
                mark.run_id,
                run_content.STATUS[end.status],
                end_time=_written(folder.path / "end.json", known=trials),
            )
        mark.write(folder)

    def _with_balanced(self, trial_id: str, reports: run_content.Reports) -> run_content.Reports:
        """Return a trial's reports, that of a test with the balanced score.

        That follows from the predictions, which are there before the report is.
        """
        if not reports or run_content.TEST_SCORE not in reports[-1]:
            return reports
        confusion = confusion_of(read_predictions(self.study.folder, trial_id))
        balanced = balanced_score(confusion, self.study.protocol())
        if balanced is None:
            return reports
        return [*reports[:-1], {**reports[-1], TEST_BALANCED: balanced}]

    def send_again(self, trial_id: str, listed: Mapping[str, Run]) -> None:
        """Mark a trial as unsent.

        Args:
            trial_id: the trial's id.
            listed: the runs that MLflow has, by their ids; that of the trial may be among them.
        """
        folder = self.study.folder.trial(trial_id)
        self._perhaps_there[trial_id] = listed.get(Mark.read(folder, self.parent_id).run_id)
        Mark(parent_id=self.parent_id).write(folder)

    def _delete(self, run_id: str) -> None:
        """Delete the run of a trial that was trained again, which gets a new one.

        MLflow keeps every value of a metric at a step, so the old run would mix both trainings.
        """
        try:
            self.client.delete_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise

    def close_study(
        self, *, finished: bool, winners: Callable[[], Collection[str]] = tuple
    ) -> None:
        """Attach the study's tables and report to the parent run, and end it.

        Args:
            finished: whether the study ran to its end.
            winners: a function that returns the ids of the trials whose names have to show that
                they were chosen: others may have the same score, and MLflow does not know which of
                them it was. It reads confirmations, and so is called after everything is sent.
        """
        place, trials = self.study.folder.path, list(self.study.folder.trials())
        server.send_files(self.client, self.parent_id, place, STUDY_ARTIFACTS, known=place)
        description = read_if_there(place, (place / DESCRIPTION).read_bytes, known=place)
        if description is not None:
            self.client.set_tag(self.parent_id, MLFLOW_RUN_NOTE, shortened(description.decode()))
        chosen = winners()
        for trial in trials:
            try:
                self._settle(trial, winner=trial.trial_id in chosen)
            except Exception as error:  # MLflow refuses this run; go on with the others
                if not server.refused(error):
                    raise
        ended = [trial.path / "end.json" for trial in trials if trial.read("end.json") is not None]
        self.client.set_terminated(
            self.parent_id,
            "FINISHED" if finished else "KILLED",
            end_time=max((_written(path, known=place / "trials") for path in ended), default=None),
        )

    def _settle(self, trial: TrialFolder, *, winner: bool) -> None:
        """End the run of an interrupted trial, and mark the winner in the run's name."""
        mark = Mark.read(trial, self.parent_id)
        if mark.run_id and not mark.closed:
            self.client.set_terminated(mark.run_id, "KILLED")
            mark.paused = True
            mark.write(trial)
        if mark.run_id and mark.winner != winner:
            self.client.update_run(mark.run_id, name=_run_name(trial.read_config(), winner=winner))
            mark.winner = winner
            mark.write(trial)

    def _trial_run(self, config: Mapping[str, Any], began: int) -> tuple[str, int, set[Place]]:
        """Find or create a trial's run; return its id, its start, and the metrics it has.

        A run may exist already, created by a driver that died before it wrote the mark. MLflow
        would keep both values of a metric that is sent twice. If the trial's folder was deleted
        meanwhile, as a damaged one has to be, the run is of an earlier training, and is deleted as
        well.
        """
        trial_id, name, tags = config["trial_id"], _run_name(config), self.trial_tags(config)
        found, known = self._perhaps_there.get(trial_id), trial_id in self._perhaps_there
        if found is None and (known or self._was_there):
            found = self._unmarked(trial_id)
        if found is not None and not known:
            self._delete(found.info.run_id)
            found = None
        self._perhaps_there[trial_id] = None
        there = set[Place]()
        inputs = self.inputs(config)  # before a run is made, since storage may be away
        if found is None:
            found = self.client.create_run(
                self.experiment_id,
                start_time=began,
                run_name=name,
                tags=tags | {MLFLOW_RUN_NOTE: run_content.describe_trial(config)},
            )
        else:
            if found.info.run_name != name or not found.data.tags.items() >= tags.items():
                self._retag(found.info.run_id, config)
            there = self._places(found)
        run_id = str(found.info.run_id)
        params = self.trial_params(config).items() - found.data.params.items()
        self.client.log_batch(run_id, params=[Param(key, value) for key, value in params])
        self._send_inputs(run_id, inputs)
        return run_id, int(found.info.start_time), there

    def _unmarked(self, trial_id: str) -> Run | None:
        """Find a trial's run that no trial's mark names.

        A trial that was renamed keeps its run, which may have its earlier name still.
        """
        found = self._search(f"tags.trial_id = '{trial_id}'")
        trials = self.study.folder.trials() if found else ()
        marked = {Mark.read(trial, self.parent_id).run_id for trial in trials}
        return next((run for run in found if run.info.run_id not in marked), None)

    def _places(self, run: Run) -> set[Place]:
        """Return what a run has of metrics."""
        histories = (
            self.client.get_metric_history(run.info.run_id, key) for key in run.data.metrics
        )
        return {_place(point) for history in histories for point in history}

    def inputs(self, config: Mapping[str, Any]) -> list[DatasetInput]:
        """Return the datasets of a trial; none where its images are not recorded."""
        key = (config["split_hash"], config["stage"])
        if not self._inputs.get(key):  # a study that resumes may write the file anew
            place = self.study.folder.path / "shots"
            path = place / f"tasks-{config['split_hash']}.jsonl"
            tasks = read_if_there(path, path.read_bytes, known=place.parent)
            self._inputs[key] = dataset_inputs(
                tasks or b"",
                config["split_hash"],
                evaluated="validation" if config["stage"] == "search" else "test",
                root=self.study.config.data.root,
            )
        return self._inputs[key]

    def _send_inputs(self, run_id: str, inputs: list[DatasetInput]) -> None:
        """Send the datasets of a trial, and to the study's own run those that it lacks."""
        if inputs:
            self.client.log_inputs(run_id, datasets=inputs)
        if lacks := [one for one in inputs if one.dataset.digest not in self._of_study]:
            self.client.log_inputs(self.parent_id, datasets=lacks)
            self._of_study |= {one.dataset.digest for one in lacks}

    def trial_tags(self, config: Mapping[str, Any]) -> dict[str, str]:
        """Return the tags that a trial's run is created with."""
        return {
            MLFLOW_PARENT_RUN_ID: self.parent_id,
            **self._tags,
            **{key: str(config[key]) for key in TRIAL_TAGS if config.get(key) is not None},
        }

    def trial_params(self, config: Mapping[str, Any]) -> dict[str, str]:
        """Return the parameters of a trial's run."""
        return run_content.trial_params(config) | self._params

    def _retag(self, run_id: str, config: Mapping[str, Any]) -> None:
        """Update a run's name and tags after its trial was renamed."""
        self.client.update_run(run_id, name=_run_name(config))
        self.client.log_batch(
            run_id, tags=[RunTag(key, value) for key, value in self.trial_tags(config).items()]
        )

    def _search(self, condition: str) -> list[Run]:
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


def _run_name(config: Mapping[str, Any], *, winner: bool = False) -> str:
    name = f"{config['label']} ★" if winner else str(config["label"])
    return f"{name} · seed {config['seed']}" if config["stage"] == "confirm" else name


def _written(path: Path, *, known: Path) -> int:
    """Return when a file was written, in milliseconds, since results may be sent much later."""
    return int(with_retries(path, path.stat, known=known).st_mtime * 1000)


def shortened(description: str) -> str:
    """Return a description that MLflow takes, less the last paragraphs and tables if need be."""
    if len(description) <= LONGEST_NOTE:
        return description
    rest = "The rest is in `report.html` among this run's artifacts."
    kept = description[: LONGEST_NOTE - len(f"\n\n{rest}")].split("\n\n")[:-1]
    while kept and kept[-1].startswith("#"):  # a heading, whose table is left out
        kept.pop()
    return "\n\n".join([*kept, rest])


def _points(
    config: Mapping[str, Any],
    reports: run_content.Reports,
    end: End | None,
    began: int,
    sent: int = 0,
) -> list[Metric]:
    """Return the metrics of a trial; see `run_content.epoch_metrics`."""
    points = run_content.epoch_metrics(reports, began, sent)
    if not sent:
        points.append(Metric("trainable", config["trainable"], began, 0))
    return points if end is None else points + run_content.total_metrics(end, began)


def _place(point: Metric) -> Place:
    """Return the place of the point of a metric."""
    return point.key, point.step, point.value
