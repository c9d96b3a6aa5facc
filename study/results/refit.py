"""The model that a study ships, where that was trained once more on more images."""

from typing import NamedTuple

from study.results.intervals import MeanInterval
from study.results.resampling import resample
from study.results.study_results import Results
from study.results.training_images import read_training_images
from study.results.trial_results import TrialResult
from study.selection.shipped import candidate_to_ship, refit_trial_id


class Refit(NamedTuple):
    """One training, which has no spread over seeds and is no row among those of n shots."""

    trial: TrialResult
    images: int | None
    """The number of images that it was trained on; None if no record says it."""
    test: MeanInterval | None
    """Its test score, with the interval over test images alone; None if it was not tested."""


def refit_of(results: Results) -> Refit | None:
    """Return the refit of what a study chose; None if there is none, or it has not ended."""
    candidate = candidate_to_ship(results.candidates)
    if not candidate:
        return None
    trial_id = refit_trial_id(results.config.refit, candidate)
    for trial in results.stage("refit"):
        if trial.trial_id == trial_id and trial.status == "finished":
            tested = resample([trial], results.protocol).mean_intervals([trial], ["score"])
            trained = read_training_images(results.folder, trial.split_hash)
            images = None if not trained else len(trained.records)
            return Refit(trial, images, tested.get("score"))
    return None
