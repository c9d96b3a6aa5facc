"""The command ``sync``: results of a study that its tracker lacks."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING

from study.commands.arguments import add_settings, add_study
from study.errors import TrackingError

if TYPE_CHECKING:
    from study.tracking.tracker import Tracker
    from study.trial.study import Study

HELP = "send MLflow the results that it is missing"


def add_arguments(parser: ArgumentParser) -> None:
    """Add a study and settings."""
    add_study(parser)
    add_settings(parser)


def run(options: Namespace) -> None:
    """Send to the tracker what it lacks of a study.

    Raises:
        StudyError: there is a fault that the user can fix, or results could not be sent.
    """
    from study.commands.find import find_study, load_study

    study = load_study(find_study(options.name, options.storage), options.settings)
    from study import tracking
    from study.commands.write_results import write_results
    from study.results.study_result import read_ended_study

    with study.folder.locked():
        tracker = tracking.make_tracker(study.config.tracking.tracker)
        send_missing(study, tracker, lambda: write_results(read_ended_study(study.folder)))
    trials = len(list(study.folder.trials()))
    print(f"{trials} trials of {study.folder.name} are in {tracker.title}")


def send_missing(
    study: "Study", tracker: "Tracker", write_results: Callable[[], object] = lambda: None
) -> None:
    """Send a tracker what it lacks of a study, and register a finished one's best model.

    Args:
        study: the study.
        tracker: the tracker, which is not started.
        write_results: writes the tables and the report again, which name the registered model.

    Raises:
        TrackingError: results could not be sent; the message names their trials.
        StudyError: see `study.tracking.tracker.Tracker.start`.
    """
    folder = study.folder
    if not tracker.title:
        raise TrackingError("tracking.tracker is none; expected a tracker, such as mlflow")
    tracker.start(study)
    finished = folder.is_complete()
    registration = folder.read_registration()
    if finished:  # an unfinished study may still get another best configuration, or more seeds
        tracker.register()
    if folder.read_registration() != registration:
        write_results()
    missing = tracker.close(finished=finished).missing
    if missing:
        raise TrackingError(f"{tracker.title} lacks results of study '{folder.name}': {missing}")
