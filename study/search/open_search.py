"""The open search: Optuna's study of the trials of a search, made anew for each proposal."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from study.config.labels import OPEN
from study.config.trial_settings import TrialSettings
from study.search.samplers import Sampler
from study.search.space import Space
from study.storage.atomic import write_atomically
from study.storage.trial_folder import End
from study.trial.study import TrialConfig

JOURNAL = "optuna.journal"
"""The file with Optuna's study once the search has ended, for whoever opens it by Optuna."""
TRIAL_ID = "trial"
"""The user attribute with the id of a trial, which the report and MLflow have."""


class OpenSearch:
    """What Optuna knows of a search: every trial whose settings the open space contains.

    Tuned CLIPFit's trials and baselines are among them. A proposal depends on its seed and on these
    trials in the order of their numbers alone, so that a study that goes on proposes what it would
    have proposed without an interruption.

    Args:
        space: the space.
        sampler: makes the sampler of each proposal.
    """

    def __init__(self, space: Space, sampler: Sampler) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = space
        self._sampler = sampler
        self._trials: dict[int, FrozenTrial] = {}

    def propose(self, number: int, seed: int) -> TrialSettings:
        """Return the settings that Optuna proposes for a trial, by a new sampler of a seed."""
        study = self._make_study()
        study.sampler = self._sampler(seed)
        settings = self._space.suggest(study.ask())
        self._add(number, settings, state=TrialState.RUNNING)
        return settings

    def reject(self, number: int) -> None:
        """Forget a proposal that becomes no trial."""
        self._trials.pop(number, None)

    def learn(self, config: TrialConfig, end: End, scores: Mapping[int, float]) -> None:
        """Add a trial that ended; that of a failed machine says nothing, and is left out.

        Args:
            config: the trial.
            end: how it ended. If its own configuration made it fail, it counts as stopped with the
                worst score, so that the sampler avoids its region.
            scores: its validation scores by epoch, as fractions.
        """
        self.reject(config.number)
        if end.status == "failed" and not end.unfit:
            return
        scores = {**scores, end.epochs + 1: 0.0} if end.unfit else dict(scores)
        self._add(
            config.number,
            config.settings,
            state=TrialState.COMPLETE if end.status == "finished" else TrialState.PRUNED,
            value=scores[max(scores)] if scores else None,
            intermediate_values=scores,
            user_attrs={TRIAL_ID: config.trial_id},
        )

    def write(self, folder: Path) -> None:
        """Write Optuna's study into a folder as `JOURNAL`, in the place of an earlier one.

        Raises:
            StorageError: the folder cannot be written.
        """
        journal = _Journal()
        self._make_study(JournalStorage(journal))
        lines = [json.dumps(log, separators=(",", ":")) + "\n" for log in journal.logs]
        write_atomically(folder / JOURNAL, "".join(lines), existing=folder)

    def _add(self, number: int, settings: TrialSettings, **outcome: Any) -> None:
        """Add a trial by the choices that lead to its settings, unless the space has none."""
        choices = self._space.encode(settings)
        if choices:
            self._trials[number] = create_trial(
                params=choices.params, distributions=choices.distributions, **outcome
            )

    def _make_study(self, storage: JournalStorage | None = None) -> optuna.Study:
        """Return a study of all trials, which is in memory if no storage is given."""
        study = optuna.create_study(storage=storage, study_name=OPEN, direction="maximize")
        study.add_trials(trial for _, trial in sorted(self._trials.items()))
        return study


class _Journal(BaseJournalBackend):
    """The lines of a journal in memory, so that the file is written in one step."""

    def __init__(self) -> None:
        self.logs: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        """Return the lines from a number on."""
        return self.logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add lines."""
        self.logs += logs
