"""The final model of a study: its configuration, and its own training and test."""

from typing import NamedTuple

from study.results.entries import Entry
from study.results.intervals import MeanInterval
from study.results.resampling import resample
from study.results.study_results import Results
from study.results.training_images import read_training_images
from study.results.trial_results import TrialResult


class FinalModel(NamedTuple):
    """The model that is registered, exported and predicted with."""

    entry: Entry
    """The tested candidate whose configuration it has."""
    trial: TrialResult | None
    """Its own training, which is no row among those of the seeds.

    None means that the model is that of the candidate's first test seed: ``final.images`` is
    ``shots``, the configuration trains nothing, or the training has not finished."""
    images: int | None = None
    """The number of images of its own training; None if no record says it."""
    test: MeanInterval | None = None
    """The test score of its own training, with the interval over test images alone; None if it was
    not tested."""


def read_final_model(results: Results, entry: Entry, trial_id: str | None) -> FinalModel:
    """Return the final model of a study.

    Args:
        results: the results of the study.
        entry: the tested candidate whose configuration it has.
        trial_id: the id of its own training; None if it has none.
    """
    for trial in results.stage("final"):
        if trial.trial_id == trial_id and trial.status == "finished":
            tested = resample([trial], results.protocol).mean_intervals([trial], ["score"])
            trained = read_training_images(results.folder, trial.split_hash)
            images = None if not trained else len(trained.records)
            return FinalModel(entry, trial, images, tested.get("score"))
    return FinalModel(entry, None)
