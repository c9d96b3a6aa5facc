"""What MLflow's pages show of a trial: rounded values, and a line of description.

Exact values are in the ledger, and among the artifacts of a trial's run.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from mlflow.entities import Metric
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from study.config.trial_settings import TrialSettings, rate_column
from study.errors import redacted_text
from study.method.parameters import kind_names
from study.storage.trial_folder import End, Status

PARAMETER_DIGITS, METRIC_DIGITS = 4, 5
"""The numbers of significant digits of parameters, and of scores and all other metrics."""
STATUS: Mapping[Status, str] = {
    "finished": "FINISHED",
    "stopped": "FINISHED",  # MLflow shows a killed run as it shows a failed one, by a red cross
    "failed": "FAILED",
}
"""What MLflow calls the end of a trial; the tag `ENDED` tells stopped trials from finished ones."""
ENDED = "ended"
"""The tag with the status that the ledger has."""
UNSENT = {"epoch", "seconds", "ended_at", "folds", *map(rate_column, kind_names())}
"""The fields of a report that are not sent; rates follow from the run's parameters."""
SAME_AS_SCORE = ("_accuracy", "_hmean")
"""The ends of the names of further fields that are not sent, as they always equal the score."""
SCORE, TEST_SCORE = "val_score", "test_score"
"""The metrics by which trials are ranked, on validation and on test."""
PEER = "peer_"
"""The beginning of the names of the parameters that only a trial of a peer has."""
Place = tuple[str, int, float]
"""What tells the point of a metric from others: its key, step and value."""
TOTALS = ("epochs", "seconds")
"""The metrics of a whole trial, each with one value: fields of `study.storage.trial_folder.End`."""

Reports = Sequence[Mapping[str, Any]]
"""The reports of a trial's epochs, in their order."""


def rounded(value: Any, digits: int) -> Any:
    """Return a value with at most so many significant digits, unless it is whole or no number."""
    if not isinstance(value, float) or value.is_integer():
        return value
    return float(f"{value:.{digits}g}")


def trial_params(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameters that a trial's run has of the trial's own configuration."""
    settings = TrialSettings.model_validate(config["settings"])
    # The values that `column_values` has no columns for: only with them can the trial be repeated.
    peer = settings.peer.model_dump(exclude={"method"}) if settings.peer else {}
    own = {
        **settings.column_values(),
        **{f"{PEER}{name}": value for name, value in peer.items()},
        "seed": config["seed"],
    }
    if not settings.calibration:  # nearly no trial has any
        del own["calibration"]
    return {
        key: str(rounded(value, PARAMETER_DIGITS))
        for key, value in own.items()
        if value is not None
    }


def without_score_duplicates(values: Mapping[str, float]) -> dict[str, float]:
    """Return metrics, rounded, without those that always equal the score."""
    return {
        key: rounded(value, METRIC_DIGITS)
        for key, value in values.items()
        if not key.endswith(SAME_AS_SCORE)
    }


def epoch_metrics(reports: Reports, began: int, sent: int = 0) -> list[Metric]:
    """Return the metrics of a trial's epochs, scores first; see `has_begun`.

    Timestamps come from the reports. A driver may die before it marks metrics as sent, and they
    are then sent again: MLflow stores equal points once, so this changes nothing.

    Args:
        reports: the trial's epoch reports, from the first.
        began: the start of the trial's run, in milliseconds.
        sent: the number of first epochs whose metrics are left out.
    """
    ends = list(accumulate(report["seconds"] for report in reports))
    points = [
        Metric(key, value, began + int(1000 * end), report["epoch"])
        for report, end in zip(reports[sent:], ends[sent:], strict=True)
        for key, value in without_score_duplicates(report).items()
        if key not in UNSENT
    ]
    return sorted(points, key=lambda point: point.key not in (SCORE, TEST_SCORE))


def trial_metrics(
    config: Mapping[str, Any],
    reports: Reports,
    end: End | None,
    began: int,
    sent: int = 0,
) -> list[Metric]:
    """Return the metrics of a trial, those of its end included; see `epoch_metrics`."""
    points = epoch_metrics(reports, began, sent)
    if not sent:
        points.append(Metric("trainable", config["trainable"], began, 0))
    return points if end is None else points + total_metrics(end, began)


def place(point: Metric) -> Place:
    """Return what tells the point of a metric from others."""
    return point.key, point.step, point.value


def has_begun(config: Mapping[str, Any], reports: Reports) -> bool:
    """Return whether a trial has what its first metric is to be.

    MLflow's page that compares runs is coloured by the metric that a run had first. So a trial of
    the search shows nothing before its first score, which with a linear head is not of every epoch.
    """
    return any(config["stage"] != "search" or SCORE in report for report in reports)


def total_metrics(end: End, began: int) -> list[Metric]:
    """Return the metrics of a whole trial; see `epoch_metrics`."""
    return [Metric(key, rounded(getattr(end, key), METRIC_DIGITS), began, 0) for key in TOTALS]


def end_tags(config: Mapping[str, Any], reports: Reports, end: End) -> dict[str, str]:
    """Return the tags that a trial's run gets when the trial has ended."""
    error = redacted_text((end.error or "")[-4000:])
    block = f"\n\n```\n{error}\n```" if error else ""
    tags = {
        ENDED: end.status,
        "stop_reason": end.reason or end.status,
        "error": error,
        MLFLOW_RUN_NOTE: describe_trial(config, reports, end) + block,
    }
    return {key: value for key, value in tags.items() if value}


def describe_trial(config: Mapping[str, Any], reports: Reports = (), end: End | None = None) -> str:
    """Return a line of Markdown on what a trial came to, and what it trains."""
    scores = [
        f"{100 * report[key]:.1f} % on {split}"
        for report in reports
        for key, split in ((SCORE, "validation"), (TEST_SCORE, "test"))
        if report.get(key) is not None
    ]
    settings = TrialSettings.model_validate(config["settings"])
    peer, rates = settings.peer, settings.rates
    named = {"lr": peer.lr} if peer else {f"{kind} lr": rate for kind, rate in rates.items()}
    named |= {"λ": settings.distill_weight} if rates else {}
    told = [
        *scores[-1:],
        _ending(end),
        settings_markdown(settings),
        *(f"{name} {value:.{PARAMETER_DIGITS}g}" for name, value in named.items()),
    ]
    return ", ".join(filter(None, told))


def _ending(end: End | None) -> str:
    """Return how a trial ended where that needs words."""
    if end is None or end.status == "finished":
        return ""
    # The reason of a failure may hold any mark of Markdown; that of a stop is this package's own.
    why = f": {end.reason}" if end.status == "stopped" and end.reason else ""
    return f"{end.status} after {end.epochs} epoch{'' if end.epochs == 1 else 's'}{why}"


def settings_markdown(settings: TrialSettings) -> str:
    """Return what is trained, in Markdown."""
    what = f"`{settings.column_values()['subset']}`"
    if settings.subset == "none" and settings.peer is None:
        what = "CLIP as it is"
    return (
        what
        + (" with a linear head" if settings.head == "linear" else "")
        + (f" at strength {settings.strength:g}" if settings.strength != 1 else "")
    )
