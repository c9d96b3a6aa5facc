"""The model that a study ships, where that was trained once more on more images."""

from typing import NamedTuple

from study.method.unknown import UnknownCheck, check_unknown
from study.results.intervals import MeanInterval
from study.results.resampling import resample
from study.results.study_results import Results
from study.results.training_images import read_training_images
from study.results.trial_results import TrialResult
from study.selection.later_refit import was_asked_after_test
from study.selection.shipped import candidate_to_ship, refit_trial_id
from study.selection.validation import read_best_logits


class Refit(NamedTuple):
    """One training, which has no spread over seeds and is no row among those of n shots."""

    trial: TrialResult
    images: int | None
    """The number of images that it was trained on; None if no record says it."""
    members: int
    """The number of trainings that it is the average of; 0 if it is a single one."""
    after_test: bool
    """Whether it was asked for after the test had been read."""
    test: MeanInterval | None
    """Its test score, with the interval over test images alone; None if it was not tested."""
    unknown: UnknownCheck | None = None
    """What it makes of images of unknown classes; None if that was not measured."""


def refit_of(results: Results) -> Refit | None:
    """Return the refit of what a study chose; None if there is none, or it has not ended."""
    candidate = candidate_to_ship(results.candidates, results.config.refit)
    if not candidate:
        return None
    trial_id = refit_trial_id("refit", results.config.refit, candidate)
    for trial in results.stage("refit"):
        if trial.trial_id == trial_id and trial.status == "finished":
            tested = resample([trial], results.protocol).mean_intervals([trial], ["score"])
            trained = read_training_images(results.folder, trial.split_hash)
            images = None if not trained else len(trained.records)
            after_test = was_asked_after_test(results.study)
            members = len(candidate.members)
            unknown = None
            source = results.folder.trial(trial_id).read_config().get("foreign_from")
            if source is not None:
                unknown = check_unknown(*read_best_logits(results.folder.trial(source)))
            return Refit(trial, images, members, after_test, tested.get("score"), unknown)
    return None
