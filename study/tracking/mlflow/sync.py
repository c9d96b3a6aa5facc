"""Send to MLflow what a study's folder holds and MLflow lacks; sending twice changes nothing.

Beside each trial stands what was sent of it: a digest and the last epoch. If the trial's digest is
another now, its run is found by its tag or created, and gets what it lacks. A thread looks at
trials as they change, and at all of them at the start and at the end, where it first lists the runs
that MLflow has, and forgets that it sent what MLflow has lost. Training never waits for it.
"""

import json
import logging
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass

from mlflow.entities import Metric, Param, Run, RunTag

from study.results.best_configuration import best_trial_ids
from study.storage.atomic import StorageError
from study.storage.result_folder import FolderError
from study.storage.trial_folder import TrialFolder
from study.tracking.mlflow import server
from study.tracking.mlflow.run_content import (
    END_TAGS,
    TOTALS,
    TRIAL_ARTIFACTS,
    ContentReader,
    RunContent,
)
from study.tracking.mlflow.study_run import StudyRun
from study.tracking.tracker import summarize_error
from study.trial.study import Study

logger = logging.getLogger(__name__)

GATHER_SECONDS = 5.0
"""How long changes are gathered before they are sent, so that few calls send many epochs."""
RETRY_SECONDS = 5.0
"""The pause after a failed call, before the next one."""
FINAL_SECONDS = 60.0
"""How long the end of a study waits for a server that accepts nothing; a slow one is waited for."""
SENT_FILE = "mlflow.json"
"""The file in each trial's folder with what was sent of it."""
ALL_TRIALS, OWN_RUN = "the study's trials", "the study's own run"
"""What the thread also has to do: look at all trials, and last of all close the study's run."""
NOT_SENT = "not sent yet"
PointKey = tuple[str, int, float | None]


@dataclass(frozen=True)
class Sent:
    """What was sent of a trial."""

    parent_id: str
    """The id of the study's own run; what was sent to another says nothing."""
    digest: str = ""
    """The digest of `RunContent`; empty if nothing was sent, or MLflow has lost it."""
    epoch: int = -1
    """The last epoch that was sent."""


class StudySync:
    """Sends a study and its trials to their runs; errors are those of `StudyRun`.

    Args:
        study: the study.
        uri: the address of the tracking server or store.
    """

    def __init__(self, study: Study, uri: str) -> None:
        self.run = StudyRun(study, uri)
        self.reader = ContentReader(study, self.run.trial_tags)
        self._study = study
        self._client = self.run.client
        self._run_ids = dict[str, str]()
        """The runs of the trials that go on since this process found them, by their ids."""
        self._looked_closely = False

    def list_changed(self) -> list[str]:
        """List the runs that MLflow has; return the trials that are to be sent.

        Of a trial that MLflow has lost, or a part of it, it is forgotten what was sent. The first
        look is a closer one, with two calls for each trial that was sent before.

        Raises:
            StorageError: the study's folder cannot be read or written.
        """
        runs = {run.data.tags["trial_id"]: run for run in self.run.trial_runs()}
        self._run_ids = {}
        with suppress(FolderError):  # of a damaged trial, which is named when it is sent
            self.reader.best = best_trial_ids(self._study)
        changed, lost = [], []
        for folder in self._study.folder.trials():
            try:
                content, sent = self._read(folder)
            except FolderError:  # it is damaged, and named when it is sent
                changed.append(folder.trial_id)
                continue
            if content and content.digest != sent.digest:
                changed.append(folder.trial_id)
            elif content and self._has_lost(folder, content, runs.get(folder.trial_id)):
                lost.append(folder.trial_id)
                self._write(folder, Sent(self.run.run_id))
        self._looked_closely = True
        if lost:
            logger.warning("MLflow has lost results of %s; they are sent again", ", ".join(lost))
        return lost + changed

    def send(self, trial_id: str) -> None:
        """Send what the folder of a trial holds and its run lacks.

        Raises:
            StudyError: the folder cannot be read or written.
        """
        folder = self._study.folder.trial(trial_id)
        content, sent = self._read(folder)
        if content is None or content.digest == sent.digest:
            return
        epoch = max(content.epoch, sent.epoch)
        if trial_id in self._run_ids:
            run_id = self._run_ids.pop(trial_id)
            points = [p for p in content.points if p.step > sent.epoch or p.key in TOTALS]
        else:  # an earlier process may have died before it wrote down what it had sent
            run = self._find_or_create(trial_id, content)
            run_id = run.info.run_id
            present = self._points_of(run)
            points = [point for point in content.points if _point_key(point) not in present]
            epoch = max([epoch, *(step for _, step, _ in present)])
        params = [Param(key, value) for key, value in content.params.items()]
        tags = [RunTag(key, value) for key, value in content.tags.items()]
        self._client.log_batch(run_id, metrics=points, params=params, tags=tags)
        if content.ended:
            server.send_files(self._client, run_id, folder.path, TRIAL_ARTIFACTS)
            self._client.set_terminated(run_id, content.status, end_time=content.ended)
        else:
            self._run_ids[trial_id] = run_id
        self._write(folder, Sent(self.run.run_id, content.digest, epoch))

    def _read(self, folder: TrialFolder) -> tuple[RunContent | None, Sent]:
        """Return what the run of a trial should show, and what was sent of it."""
        sent = Sent("")
        with suppress(ValueError, TypeError):  # a damaged file is as good as none
            sent = Sent(**json.loads(folder.read(SENT_FILE) or b"{}"))
        if sent.parent_id != self.run.run_id:
            sent = Sent(self.run.run_id)
        return self.reader.read(folder), sent

    def _write(self, folder: TrialFolder, sent: Sent) -> None:
        folder.write(SENT_FILE, json.dumps(asdict(sent)).encode())

    def _find_or_create(self, trial_id: str, content: RunContent) -> Run:
        """Return the run of a trial with its name, status and datasets, without tags of an end.

        An earlier attempt may have created it and lost the server's answer.
        """
        run = next(self.run.trial_runs(f"tags.trial_id = '{trial_id}'"), None)
        if run is None:
            run = self._client.create_run(
                self.run.experiment_id,
                start_time=content.started,
                run_name=content.name,
                tags=content.tags,
            )
        if (run.info.run_name, run.info.status) != (content.name, content.status):
            self._client.update_run(run.info.run_id, content.status, content.name)
        for key in run.data.tags.keys() & set(END_TAGS) - content.tags.keys():
            self._client.delete_tag(run.info.run_id, key)
        if content.inputs:
            for run_id in (run.info.run_id, self.run.run_id):
                self._client.log_inputs(run_id, datasets=content.inputs)
        return run

    def _points_of(self, run: Run) -> set[PointKey]:
        """Return the points of all metrics of a run."""
        return {
            _point_key(point)
            for key in run.data.metrics
            for point in self._client.get_metric_history(run.info.run_id, key)
        }

    def _has_lost(self, folder: TrialFolder, content: RunContent, run: Run | None) -> bool:
        """Return whether the run of a trial lacks anything that was sent."""
        if run is None or run.info.status != content.status:
            return True
        shown = {pair for pair in content.tags.items() if not pair[0].startswith("mlflow.")}
        steps = Counter(point.key for point in content.points)
        if (
            shown - run.data.tags.items()
            or content.params.items() - run.data.params.items()
            or steps.keys() - run.data.metrics.keys()
        ):
            return True
        if self._looked_closely or not content.ended:
            return False
        run_id = run.info.run_id
        ((key, count),) = steps.most_common(1)  # one metric suffices: one call a trial
        points = self._client.get_metric_history(run_id, key)
        artifacts = {artifact.path for artifact in self._client.list_artifacts(run_id)}
        files = {path.name for path in server.matching_files(folder.path, TRIAL_ARTIFACTS)}
        return len({point.step for point in points}) < count or not files <= artifacts


def _point_key(point: Metric) -> PointKey:
    """Return what identifies a point within a run: of a total also its value."""
    return point.key, point.step, point.value if point.key in TOTALS else None


class SyncThread:
    """A thread that sends the trials of a study as they change, at first what is left of before.

    A trial that MLflow refuses is not sent again until it changes. If sending fails for another
    reason, such as a server that is down, the trial is sent again later, after the others.

    Args:
        sync: sends a trial.
    """

    def __init__(self, sync: StudySync) -> None:
        self._sync = sync
        self._pending = {ALL_TRIALS: NOT_SENT}
        """What is to be done, with the reasons why it has not been done yet."""
        self._sending = dict[str, str]()
        """What is being done, likewise; it is pending as well if it changes meanwhile."""
        self._given_up = dict[str, str]()
        """What MLflow refused, or could not be read as the study closed, with the reasons."""
        self._finished = False
        self._settled = 0
        """The number of attempts that need no repetition."""
        self._changed, self._closing, self._stop = (threading.Event() for _ in range(3))
        self._thread = threading.Thread(target=self._work, name="mlflow-sync", daemon=True)
        self._thread.start()

    def add(self, trial_id: str) -> None:
        """Request that a trial is sent that has changed."""
        self._pending.setdefault(trial_id, NOT_SENT)
        self._changed.set()

    def close(self, *, finished: bool) -> dict[str, str]:
        """Send the rest while MLflow takes it, then stop; return what it lacks, and why."""
        self._finished = finished
        self._pending |= {ALL_TRIALS: NOT_SENT, OWN_RUN: NOT_SENT}
        self._closing.set()
        self._changed.set()
        before = -1
        while self._thread.is_alive() and self._settled > before:
            before = self._settled
            self._thread.join(FINAL_SECONDS)
        self._stop.set()
        missing = self._given_up | self._sending | self._pending
        missing.pop(ALL_TRIALS, None)  # its own run is closed after them, and then lacks as well
        return missing

    def _work(self) -> None:
        while not self._stop.is_set():
            if not self._pending:
                if self._closing.is_set():
                    return
                self._changed.wait()
                self._closing.wait(GATHER_SECONDS)
            self._changed.clear()
            items = [*self._pending]
            for item in [item for item in items if item != OWN_RUN] or items:
                if not self._stop.is_set():
                    self._attempt(item)

    def _attempt(self, item: str) -> None:
        was_failing = self._is_failing()
        self._sending = {item: self._pending.pop(item)}
        try:
            self._do(item)
        except Exception as error:  # no answer of a server may stop the study
            self._handle_failure(item, error, was_failing=was_failing)
        else:
            self._given_up.pop(item, None)
            self._settled += 1
        self._sending = {}
        if was_failing and not self._is_failing():
            logger.warning("results are being sent to MLflow again")

    def _is_failing(self) -> bool:
        return any(reason != NOT_SENT for reason in self._pending.copy().values())

    def _do(self, item: str) -> None:
        if item == OWN_RUN:
            self._sync.run.close(finished=self._finished)
        elif item == ALL_TRIALS:
            self._sync.reader.live = OWN_RUN not in self._pending
            for trial_id in self._sync.list_changed():
                self._pending.setdefault(trial_id, NOT_SENT)
        else:
            self._sync.send(item)

    def _handle_failure(self, item: str, error: Exception, *, was_failing: bool) -> None:
        """Set aside what is refused until it changes, and anything else behind the others."""
        reason, refused = summarize_error(error), server.is_refusal(error)
        if refused and not self._given_up:
            logger.warning(
                "%s cannot be sent to MLflow: %s; other results are still sent", item, reason
            )
        if not refused and not was_failing:
            logger.warning("results cannot be sent to MLflow, retrying: %s", reason)
        # For storage, the call has waited for as long as the study does.
        if refused or (self._closing.is_set() and isinstance(error, StorageError)):
            self._given_up[item] = reason
            self._settled += 1
        else:
            self._pending[item] = reason
            self._stop.wait(RETRY_SECONDS)
