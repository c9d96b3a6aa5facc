"""The last step of a study: the final model is trained, and tested once."""

import logging

from study.results.chosen_configuration import final_candidate, final_trial_id
from study.search.ledger_callback import Observers, notify_of_end
from study.search.make_trial import make_trial
from study.search.queues import run_queue
from study.search.recording import close_trial
from study.search.searcher import Proposal
from study.storage.trial_folder import EARLIER_END, End
from study.trial.prepare import Preparer
from study.trial.study import Study, TrialConfig

logger = logging.getLogger(__name__)


def stop_other_final_trials(study: Study, trial_id: str | None, observers: Observers) -> None:
    """Close the open trials of other final models, which nobody asks for any more.

    Such are left by an interruption before ``final.images`` or the choice changed, or by damage.

    Args:
        study: the study.
        trial_id: the id of the trial that is asked for now; None if there is none.
        observers: the listeners that are notified of the ends.
    """
    for trial, config in study.folder.trials_of("final"):
        if trial.trial_id != trial_id and not trial.read_end():
            reports = trial.read_reports()
            seconds = sum(report["seconds"] for report in reports)
            end = End("stopped", len(reports), seconds, "another final model is asked for")
            close_trial(trial, end)
            notify_of_end(observers, TrialConfig.model_validate(config), end, None)


def run_final(study: Study, preparer: Preparer, observers: Observers) -> None:
    """Train the final model on ``final.images``, and test it unless it learns from test images.

    A training that failed before is tried again.

    Args:
        study: the study, whose final model is trained (`final_trial_id` returns an id).
        preparer: lays out its data.
        observers: see `run_queue`.
    """
    candidate = final_candidate(study.candidates())
    trial_id = final_trial_id(study.config, candidate)
    if candidate is None or trial_id is None:
        return
    trial = study.folder.trial(trial_id)
    end = trial.read_end()
    if end and end.status != "finished":
        trial.reopen()
        (trial.path / EARLIER_END).unlink(missing_ok=True)  # it is to come to its last epoch
    data = preparer.final()
    config = make_trial(
        study,
        data,
        "final",
        Proposal(candidate.settings, candidate.label, number=0),
        label=candidate.label,
    ).model_copy(update={"trial_id": trial_id})
    run_queue(study, "final", [config], {study.config.seed: data}, observers)
    end = trial.read_end()
    if end and end.status == "failed":
        logger.warning(
            "the final training failed, so the final model is one that was tested (%s); "
            "clipfit-study resume %s tries it again",
            end.reason,
            study.folder.name,
        )
