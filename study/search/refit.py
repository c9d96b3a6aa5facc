"""The stage that trains what ships on more images than the shots, and tests it once."""

import logging

from study.search.ledger_callback import Observers
from study.search.make_trial import make_trial
from study.search.queues import run_queue
from study.search.searcher import Proposal
from study.selection.shipped import candidate_to_ship, refit_trial_id
from study.trial.prepare import Preparer, labelled_task
from study.trial.study import Candidate, Study

logger = logging.getLogger(__name__)


def candidate_to_refit(study: Study) -> Candidate | None:
    """Return the candidate that is trained once more; None if none is, or nothing is chosen yet."""
    candidate = candidate_to_ship(study.candidates())
    if not candidate or study.config.refit.images == "shots":
        return None
    trains = candidate.settings.subset != "none" or candidate.settings.is_peer
    return candidate if trains and candidate.source_trial is not None else None


def run_refit(study: Study, candidate: Candidate, preparer: Preparer, observers: Observers) -> None:
    """Train a candidate on the images of ``refit.images``, and test it unless they are of the test.

    Args:
        study: the study.
        candidate: the candidate that ships.
        preparer: lays out its data.
        observers: see `run_queue`.
    """
    data = preparer.refit()
    # However many images there are, a refit takes the steps that those with labels would take.
    shots = preparer.shots(study.config.seed)
    epoch_images = len(labelled_task(study, shots).train.records)
    trial = make_trial(
        study,
        data,
        "refit",
        Proposal(candidate.settings, candidate.label, number=0),
        label=candidate.label,
        trial_id=refit_trial_id(study.config.refit, candidate),
        epoch_images=epoch_images,
    )
    folder = study.folder.trial(trial.trial_id)
    end = folder.read_end()
    if end and end.status == "failed":
        folder.reopen()
    run_queue(study, "refit", [trial], {study.config.seed: data}, observers)
    end = folder.read_end()
    if end and end.status == "failed":
        logger.warning(
            "the refit failed, so what was tested ships as it is (%s); "
            "clipfit-study resume %s tries it again",
            end.reason,
            study.folder.name,
        )
