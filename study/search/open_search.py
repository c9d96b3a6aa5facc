"""The open search: one Optuna study, made anew from the trials of a study whenever it goes on."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import optuna
from optuna.storages import InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import Trial, TrialState, create_trial

from study.config.labels import OPEN
from study.config.trial_settings import TrialSettings
from study.search.samplers import Sampler
from study.search.space import Space
from study.storage.atomic import with_retries
from study.storage.trial_folder import End
from study.trial.study import TrialConfig

JOURNAL = "optuna.journal"
"""The file with Optuna's study once the search has ended, for whoever opens it by Optuna."""
TRIAL_ID = "trial"
"""The user attribute with the id of a trial, which the report and MLflow have."""


class OpenSearch:
    """Optuna's study of the open space.

    It learns from every trial whose settings the space contains, tuned CLIPFit's and baselines
    among them. A trial that was under way when its driver died becomes known once it ends.

    Args:
        space: the space.
        sampler: makes the sampler of each proposal.
    """

    def __init__(self, space: Space, sampler: Sampler) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._storage = InMemoryStorage()
        self._study = optuna.create_study(
            storage=self._storage, study_name=OPEN, direction="maximize"
        )
        self._space = space
        self._sampler = sampler
        self._under_way: dict[str, Trial] = {}
        """The proposals of this process that have not ended, by the ids of their trials."""

    def propose(self, trial_id: str, seed: int) -> TrialSettings:
        """Return the settings that Optuna proposes for a trial, by a new sampler of a seed."""
        self._study.sampler = self._sampler(seed)
        trial = self._study.ask()
        self._under_way[trial_id] = trial
        trial.set_user_attr(TRIAL_ID, trial_id)
        return self._space.suggest(trial)

    def reject(self, trial_id: str) -> None:
        """Close a proposal that becomes no trial; the sampler learns nothing of it."""
        self._study.tell(self._under_way.pop(trial_id), state=TrialState.FAIL)

    def learn(self, config: TrialConfig, end: End, scores: Mapping[int, float]) -> None:
        """Add a trial that ended; that of a failed machine says nothing, and is left out.

        Args:
            config: the trial.
            end: how it ended. If its own configuration made it fail, it counts as stopped with the
                worst score, so that the sampler avoids its region.
            scores: its validation scores by epoch, as fractions.
        """
        state = TrialState.COMPLETE if end.status == "finished" else TrialState.PRUNED
        if end.unfit:
            scores = {**scores, end.epochs + 1: 0.0}
        elif end.status == "failed":
            state = TrialState.FAIL
        value = scores.get(end.epochs) if state is TrialState.COMPLETE else None
        own = self._under_way.pop(config.trial_id, None)
        if own:
            for epoch, score in scores.items():
                own.report(score, epoch)
            self._study.tell(own, value, state=state)
            return
        choices = self._space.encode(config.settings)
        if choices and state is not TrialState.FAIL:
            self._study.add_trial(
                create_trial(
                    state=state,
                    value=value,
                    params=choices.params,
                    distributions=choices.distributions,
                    user_attrs={TRIAL_ID: config.trial_id},
                    intermediate_values=dict(scores),
                )
            )

    def write(self, folder: Path) -> None:
        """Write Optuna's study into a folder as `JOURNAL`, in the place of an earlier one.

        Raises:
            StorageError: the folder cannot be written.
        """
        path = folder / JOURNAL
        temporary = path.with_name(f".{JOURNAL}.new")

        def copy() -> None:
            temporary.unlink(missing_ok=True)
            with warnings.catch_warnings(action="ignore", category=UserWarning):
                to_storage = JournalStorage(JournalFileBackend(str(temporary)))
            optuna.copy_study(
                from_study_name=OPEN, from_storage=self._storage, to_storage=to_storage
            )
            temporary.replace(path)

        with_retries(path, copy, existing=folder)
