"""What MLflow's pages show of a trial: rounded values and a line of description.

Exact values are in the ledger and in the artifacts of the trial's run.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

from mlflow.entities import Metric
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from study.config.trial_settings import TrialSettings, rate_column
from study.errors import redacted_text
from study.method.parameters import kind_names
from study.process.templates import templates
from study.storage.ledger_files import JsonObject
from study.storage.trial_folder import End, Status

PARAMETER_DIGITS, METRIC_DIGITS = 4, 5
"""The numbers of significant digits of parameters, and of scores and all other metrics."""
STATUS: Mapping[Status, str] = {
    "finished": "FINISHED",
    "stopped": "FINISHED",  # MLflow shows a killed run as it shows a failed one, by a red cross
    "failed": "FAILED",
}
"""MLflow's status of a run for each end of a trial; the tag `ENDED` marks stopped trials."""
ENDED = "ended"
"""The tag with the status of the trial in the ledger."""
RATE_FIELDS = [rate_column(kind) for kind in kind_names()]
UNSENT_FIELDS = {"epoch", "seconds", "ended_at", "folds", "head", "scores", *RATE_FIELDS}
"""The fields of a report that are not sent; rates follow from the run's parameters."""
LONGEST_TEXT = 4000
"""The most characters of an error or a reason that are sent."""
SAME_AS_SCORE = ("_accuracy", "_hmean")
"""Suffixes of further fields that are not sent because they always equal the score."""
SCORE, TEST_SCORE = "val_score", "test_score"
"""The metrics by which trials are ranked, on validation and on test."""
PEER_PREFIX = "peer_"
"""The prefix of the parameters that only trials of peers have."""
PointKey = tuple[str, int, float | None]
"""What identifies a metric's point within a run: its key, its step, and the value of a total."""
TOTALS = ("epochs", "seconds")
"""The metrics of a whole trial, with one value each: fields of `study.storage.trial_folder.End`."""

Tags = dict[str, str]
"""Texts by key, as MLflow keeps tags and parameters."""
Reports = Sequence[JsonObject]
"""The reports of a trial's epochs, in order."""


def round_significant(value: Any, digits: int) -> Any:
    """Round a float to significant digits; return whole numbers and other values as they are."""
    if not isinstance(value, float) or value.is_integer():
        return value
    return float(f"{value:.{digits}g}")


def format_params(values: JsonObject) -> Tags:
    """Return values as MLflow's parameters: rounded, as texts, and without those that are None."""
    return {
        key: str(round_significant(value, PARAMETER_DIGITS))
        for key, value in values.items()
        if value is not None
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
    if settings.peer:
        # To repeat the trial, also the values are needed that `column_values` does not have.
        for name, value in settings.peer.model_dump(exclude={"method"}).items():
            values[f"{PEER_PREFIX}{name}"] = value
    values["seed"] = config["seed"]
    return format_params(values)


def without_score_duplicates(values: Mapping[str, float]) -> dict[str, float]:
    """Return rounded metrics without those that always equal the score."""
    return {
        key: round_significant(value, METRIC_DIGITS)
        for key, value in values.items()
        if not key.endswith(SAME_AS_SCORE)
    }


def trial_metrics(
    config: JsonObject,
    reports: Reports,
    end: End | None,
    start_time: int,
    sent: int = 0,
) -> list[Metric]:
    """Return the metrics of a trial: the scores of its epochs first, see `has_first_metric`.

    Timestamps come from the reports. If a driver dies before it marks metrics as sent, they are
    sent again. This changes nothing, since MLflow stores equal points once.

    Args:
        config: the trial's configuration.
        reports: the trial's epoch reports, from the first.
        end: how the trial ended; None if it has not.
        start_time: the start of the trial's run, in milliseconds.
        sent: the number of leading epochs to leave out.
    """
    elapsed = list(accumulate(report["seconds"] for report in reports))
    points = []
    for report, seconds in zip(reports[sent:], elapsed[sent:], strict=True):
        timestamp = start_time + int(1000 * seconds)
        for key, value in without_score_duplicates(report).items():
            if key not in UNSENT_FIELDS:
                points.append(Metric(key, value, timestamp, report["epoch"]))
    points.sort(key=lambda point: point.key not in (SCORE, TEST_SCORE))
    if not sent:
        points.append(Metric("trainable", config["trainable"], start_time, 0))
    if end:
        for key in TOTALS:
            value = round_significant(getattr(end, key), METRIC_DIGITS)
            points.append(Metric(key, value, start_time, 0))
    return points


def point_key(point: Metric) -> PointKey:
    """Return what identifies a metric's point within a run."""
    return point.key, point.step, point.value if point.key in TOTALS else None


def has_first_metric(config: JsonObject, reports: Reports) -> bool:
    """Return whether a trial has reported the metric that has to be sent first.

    MLflow colours its page that compares runs by the first metric of a run. So nothing of a trial
    that is validated is sent before its first score. Not every epoch has one.
    """
    return any(config["stage"] != "search" or SCORE in report for report in reports)


def end_tags(config: JsonObject, reports: Reports, end: End) -> Tags:
    """Return the tags that a run gets when its trial has ended."""
    description = describe_trial(config, reports, end)
    error = _sendable(end.error or "")
    if error:
        description += f"\n\n```\n{error}\n```"
    tags = {
        ENDED: end.status,
        "stop_reason": _sendable(end.reason or end.status),
        "error": error,
        MLFLOW_RUN_NOTE: description,
    }
    return {key: value for key, value in tags.items() if value}


def _sendable(text: str) -> str:
    """Return the end of a text without credentials, as long as a tag of MLflow may be."""
    return redacted_text(text)[-LONGEST_TEXT:]


@cache
def _words() -> Any:
    """Return the macros that word a trial."""
    return templates(Path(__file__).parent).get_template("trial.md.jinja").module


def describe_trial(config: JsonObject, reports: Reports = (), end: End | None = None) -> str:
    """Return a line of Markdown: a trial's last score, how it ended, and what it trains."""
    return str(_words().trial(trial_settings(config, reports), reports, end))


def settings_markdown(settings: TrialSettings) -> str:
    """Return what a trial trains, in Markdown."""
    return str(_words().trained(settings))
