"""The stage that trains what ships on more images than the shots, and tests it once.

An average is trained as its members are, each alone and untested; then it is tested.
"""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from study.config.trial_settings import TrialSettings
from study.search.ledger_callback import Observers
from study.search.make_trial import make_trial
from study.search.queues import run_queue
from study.search.searcher import Proposal
from study.selection.shipped import candidate_to_ship, refit_trial_id
from study.selection.validation import read_best_logits
from study.trial.prepare import Preparer, labelled_task
from study.trial.study import AveragedTrial, Candidate, Stage, Study, TrialConfig, TrialData

logger = logging.getLogger(__name__)


def candidate_to_refit(study: Study) -> Candidate | None:
    """Return the candidate that is trained once more; None if none is, or nothing is chosen yet."""
    candidate = candidate_to_ship(study.candidates(), study.config.refit)
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
    # However many images there are, a refit takes the steps that those with labels would take.
    shots = preparer.shots(study.config.seed)
    labelled = len(labelled_task(study, shots).train.records)
    maker = _Maker(study, preparer.refit(tested=False), labelled)
    members = maker.make_members("member", candidate)
    maker.run("member", members, observers)
    foreign_from = None
    if candidate.members:
        foreign_from = _trial_without_classes(study, candidate, preparer, observers)
    elif study.config.refit.unknown_check:
        logger.warning("refit.unknown_check has no effect, since what ships is no average")
    maker = _Maker(study, preparer.refit(tested=True), labelled, foreign_from)
    trial = maker.make("refit", candidate, candidate.settings, members)
    maker.run("refit", [trial], observers)
    end = study.folder.trial(trial.trial_id).read_end()
    if end and end.status == "failed":
        logger.warning(
            "the refit failed, so what was tested ships as it is (%s); "
            "clipfit-study refit %s tries it again",
            end.reason,
            study.folder.name,
        )


def _trial_without_classes(
    study: Study, average: Candidate, preparer: Preparer, observers: Observers
) -> str | None:
    """Return the trial that tells how many images of unknown classes are found; None if none does.

    That is the validation of the average if it left classes out. Else it is trained for that if
    ``refit.unknown_check`` asks for it: as its members were, each time without a third of the
    classes, or once beside foreign images if the dataset has these.
    """
    is_asked = study.config.refit.unknown_check
    left_out = read_best_logits(study.folder.trial(str(average.source_trial))).foreign
    if left_out and not (is_asked and study.dataset.foreign):
        return average.source_trial
    if not is_asked:
        return None
    maker = _Maker(study, preparer.left_out_classes())
    members = maker.make_members("unknown", average)
    maker.run("unknown", members, observers)
    trial = maker.make("unknown", average, average.settings, members)
    maker.run("unknown", [trial], observers)
    if not study.folder.trial(trial.trial_id).has_finished():
        logger.warning("refit.unknown_check failed, so what ships does not tell what it finds")
        return None
    return trial.trial_id


class _Maker(NamedTuple):
    """Makes the trials of a refit, and runs them."""

    study: Study
    data: TrialData
    epoch_images: int | None = None
    """See `TrialConfig.epoch_images`."""
    foreign_from: str | None = None
    """See `TrialConfig.foreign_from`."""

    def run(self, stage: Stage, trials: Sequence[TrialConfig], observers: Observers) -> None:
        """Run the trials of a stage."""
        run_queue(self.study, stage, trials, {self.study.config.seed: self.data}, observers)

    def make_members(self, stage: Stage, average: Candidate) -> list[TrialConfig]:
        """Return the trials that train the members of an average; none if it is none."""
        candidates = {candidate.label: candidate for candidate in self.study.candidates() or ()}
        trials = []
        for label in average.members:
            member = candidates[label]
            trials.append(self.make(stage, member, member.settings.training_settings))
        return trials

    def make(
        self,
        stage: Stage,
        candidate: Candidate,
        settings: TrialSettings,
        members: Sequence[TrialConfig] = (),
    ) -> TrialConfig:
        """Return the trial that trains a candidate, or that averages its trained members."""
        averaged = [AveragedTrial(trial_id=m.trial_id, settings=m.settings) for m in members]
        proposal = Proposal(settings, candidate.label, number=0, members=averaged)
        refit = self.study.config.refit
        values: dict[str, Any] = {
            "label": candidate.label,
            "trial_id": refit_trial_id(stage, refit, candidate),
            "epoch_images": self.epoch_images,
        }
        if members and stage == "refit":
            values["known_from"] = candidate.source_trial
            values["foreign_from"] = self.foreign_from
        return make_trial(self.study, self.data, stage, proposal, **values)
