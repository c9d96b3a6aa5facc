"""What MLflow shows of a trial, made from its folder: name, tags, parameters and metrics.

Values are rounded; exact ones are in the trial's folder and among its run's artifacts.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.entities import DatasetInput, Metric

from study.config.trial_settings import TrialSettings, rate_column
from study.errors import redacted_text
from study.method.parameters import kind_names
from study.storage.atomic import read_if_exists, sha256_of, with_retries
from study.storage.result_folder import JsonObject
from study.storage.trial_folder import RESULT_FILES, End, TrialFolder
from study.tracking.mlflow.inputs import dataset_inputs
from study.trial.study import Study

DIGITS = 5
"""The number of significant digits of parameters and metrics."""
ENDED = "ended"
"""The tag with the status of the trial in its folder."""
END_TAGS = (ENDED, "stop_reason", "error")
"""The tags that only ended trials have."""
TRIAL_TAGS = ("trial_id", "stage", "group", "label", "split_hash", "config_hash")
"""The fields of a trial's configuration that its run has as tags, if they are set."""
TRIAL_ARTIFACTS = ("config.json", *RESULT_FILES)
RATE_FIELDS = [rate_column(kind) for kind in kind_names()]
UNSENT_FIELDS = {"epoch", "seconds", "ended_at", "head", "scores", *RATE_FIELDS}
"""The fields of a report that are not sent; rates follow from the run's parameters."""
LONGEST_TEXT = 8000
"""The most characters of a tag; of longer ones MLflow warns."""
SAME_AS_SCORE = ("_accuracy", "_hmean")
"""Suffixes of further fields that are not sent because they always equal the score."""
SCORE = "val_score"
"""The metric by which trials are ranked."""
TOTALS = ("epochs", "seconds")
"""The metrics of a whole trial, with one value each: fields of `study.storage.trial_folder.End`."""

Tags = dict[str, str]
"""Texts by key, as MLflow keeps tags and parameters."""
Reports = Sequence[JsonObject]
"""The reports of a trial's epochs, in order."""


@dataclass(frozen=True)
class RunContent:
    """Everything that the run of a trial shows, but its artifacts."""

    name: str
    status: str
    tags: Tags
    params: Tags
    points: Sequence[Metric]
    """All points of all metrics; timestamps come from the folder, so they are always the same."""
    inputs: Sequence[DatasetInput]
    epoch: int
    """The last epoch that is reported: 0 of a trial without training; -1 if there is none."""
    started: int
    """When the trial started, in milliseconds."""
    ended: int | None
    """When it ended, in milliseconds; None while it has not."""

    @property
    def digest(self) -> str:
        """The SHA-256 of what is shown."""
        points = [(point.key, point.step, point.value) for point in self.points]
        inputs = sorted((item.dataset.name, item.dataset.digest) for item in self.inputs)
        shown = [self.name, self.status, self.tags, self.params, points, inputs]
        return sha256_of(json.dumps(shown, sort_keys=True).encode())


class ContentReader:
    """Reads what the runs of a study's trials should show.

    Args:
        study: the study.
        tags: the tags that the runs of all trials have.
    """

    def __init__(self, study: Study, tags: Tags) -> None:
        self.best = set[str]()
        """The ids of the trials of the best configuration, which their names show."""
        self.live = True
        """Whether the study runs; otherwise a trial that has not ended was interrupted."""
        self._study = study
        self._tags = tags
        config = study.config
        # MLflow's pages fetch all tags and parameters of a hundred runs at once. So a run has only
        # those that are shown or filtered by; the parent run has what all trials share.
        self._params = {
            "dataset": config.data.dataset,
            "protocol": config.protocol,
            "backbone": config.backbone.name,
            "shots": str(config.data.shots),
        }
        self._inputs: dict[tuple[str, str], list[DatasetInput]] = {}

    def read(self, folder: TrialFolder) -> RunContent | None:
        """Read the folder of a trial; return None if it is gone.

        Raises:
            FolderError: a file is damaged.
            StorageError: the folder cannot be read.
        """
        if folder.read("config.json") is None:
            return None
        config = folder.read_config()
        # Read the end first: otherwise it might be written between the two reads, and the last
        # report would be missing.
        end = folder.read_end()
        reports = folder.read_reports()
        started = modified_at(folder.path / "config.json", existing=folder.path.parent)
        points = trial_points(config, reports, end, started)
        label = self._label(config)
        tags = {key: str(config[key]) for key in TRIAL_TAGS if config.get(key) is not None}
        tags |= self._tags | {"label": label}
        status, ended = "RUNNING" if self.live else "KILLED", None
        if end:
            # MLflow shows a killed run as it shows a failed one; a tag marks stopped trials.
            status = "FAILED" if end.status == "failed" else "FINISHED"
            tags |= end_tags(end)
            ended = modified_at(folder.path / "end.json", existing=folder.path.parent)
        return RunContent(
            name=run_name(config, label, best=folder.trial_id in self.best),
            status=status,
            tags=tags,
            params=trial_params(config, reports if end else ()) | self._params,
            points=points,
            inputs=self._read_inputs(config["split_hash"], config["stage"]),
            epoch=reports[-1]["epoch"] if reports else -1,
            started=started,
            ended=ended,
        )

    def _label(self, config: JsonObject) -> str:
        """Return the label of a trial; that of a test is of the first candidate it tests."""
        label = str(config["label"])
        if config["stage"] == "test":
            for candidate in self._study.candidates() or ():
                if candidate.training == label:
                    return candidate.label
        return label

    def _read_inputs(self, split_hash: str, stage: str) -> list[DatasetInput]:
        """Return the datasets of a trial, or an empty list if its images are not recorded."""
        key = split_hash, "validation" if stage == "search" else "test"
        if not self._inputs.get(key):  # a study that resumes may write the file anew
            folder = self._study.folder.path
            path = folder / "shots" / f"tasks-{split_hash}.jsonl"
            tasks = read_if_exists(path, path.read_bytes, existing=folder) or b""
            root = self._study.config.data.root
            self._inputs[key] = dataset_inputs(tasks, evaluated=key[1], root=root)
        return self._inputs[key]


def modified_at(path: Path, *, existing: Path) -> int:
    """Return when a file was last written, in milliseconds.

    Runs get this time, since results may be sent much later. See `with_retries` for ``existing``.
    """
    return int(with_retries(path, path.stat, existing=existing).st_mtime * 1000)


def run_name(config: JsonObject, label: str, *, best: bool = False) -> str:
    """Return the name of a run: what a proposed trial tunes, and the label of any other.

    The runs of the best configuration have a mark, since other trials may have the same score. It
    stands first, as MLflow's pages cut long names.
    """
    name = label
    if config["stage"] == "search" and label.endswith(f" {config.get('number')}"):
        values = trial_settings(config).column_values()
        rates = [values[column] for column in (*RATE_FIELDS, "method_lr")]
        shown = ", ".join(f"{rate:.2g}" for rate in rates if rate is not None)
        name = f"{values['subset']} @ {shown}" if shown else label
    mark = "★ " if best else ""
    endings = {"test": f" · seed {config['seed']}", "final": " · final model"}
    return mark + name + endings.get(config["stage"], "")


def round_significant(value: Any) -> Any:
    """Round a float to `DIGITS`; return whole numbers and other values as they are."""
    if not isinstance(value, float) or value.is_integer():
        return value
    return float(f"{value:.{DIGITS}g}")


def format_params(values: JsonObject) -> Tags:
    """Return values as MLflow's parameters: rounded, as texts, and without those that are None."""
    return {
        key: str(round_significant(value)) for key, value in values.items() if value is not None
    }


def trial_settings(config: JsonObject, reports: Reports = ()) -> TrialSettings:
    """Return a trial's settings, with the head that its last report names."""
    settings = TrialSettings.model_validate(config["settings"])
    return settings.with_reported_head(reports[-1]) if reports else settings


def trial_params(config: JsonObject, reports: Reports = ()) -> Tags:
    """Return the parameters of a run that are its trial's own.

    Args:
        config: the trial's configuration.
        reports: the reports of a trial that has ended, which may name the head.
    """
    settings = trial_settings(config, reports)
    values = settings.column_values()
    if settings.method:
        # To repeat the trial, also the values are needed that `column_values` does not have.
        for name, value in settings.method.model_dump(exclude={"method"}).items():
            values[f"method_{name}"] = value
    return format_params(values | {"seed": config["seed"]})


def shown_metrics(values: Mapping[str, float]) -> dict[str, float]:
    """Return the fields of a report that are sent, rounded."""
    return {
        key: round_significant(value)
        for key, value in values.items()
        if key not in UNSENT_FIELDS and not key.endswith(SAME_AS_SCORE)
    }


def trial_points(
    config: JsonObject, reports: Reports, end: End | None, started: int
) -> list[Metric]:
    """Return the points of a trial's metrics."""
    points, now = [Metric("trainable", config["trainable"], started, 0)], started
    for report in reports:
        now = int(1000 * report.get("ended_at", started / 1000))
        for key, value in shown_metrics(report).items():
            points.append(Metric(key, value, now, report["epoch"]))
    if end:
        for key in TOTALS:
            points.append(Metric(key, round_significant(getattr(end, key)), now, 0))
    return points


def end_tags(end: End) -> Tags:
    """Return the tags that tell how a trial ended; those without a text are left out.

    A text has no credentials, and is no longer than a tag may be: the end of it is kept.
    """
    texts = zip(END_TAGS, (end.status, end.reason or end.status, end.error or ""), strict=True)
    return {key: redacted_text(text)[-LONGEST_TEXT:] for key, text in texts if text}
