"""The worker of Tune that runs trials, one after the other."""

from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayActorError

from study.config.schema import StudyConfig
from study.search.ray_internals import own_node_drains
from study.search.scheduler import Result
from study.search.trial_worker import TrialWorker
from study.storage.study_folder import StudyFolder
from study.trial.study import TrialConfig

DATA = "data"
"""The key of a trial's configuration in Tune that has the reference to its round's data."""


class ClipFitTrainable(tune.Trainable):
    """A `TrialWorker` in a process of Ray; a step is an epoch, or several short ones.

    If a worker dies, another one, on any node, continues the trial after its last recorded epoch.
    """

    step_seconds = 1.0
    """How long a worker goes on with short epochs that no scheduler waits for, in one step.

    From one step to the next, it writes them to disk and waits for the driver, some hundredths of a
    second."""

    def setup(
        self,
        config: dict[str, Any],
        *,
        folder: Path,
        settings: StudyConfig,
    ) -> None:
        """Make the worker of this process, and start its first trial.

        Args:
            config: the first trial, see `study.search.tune_rounds.RoundSearcher.suggest`.
            folder: the study's folder.
            settings: the configuration of the study.
        """
        self.worker = TrialWorker(StudyFolder(folder), settings)
        self._reference: ray.ObjectRef | None = None
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in this process."""
        trial = dict(new_config)
        reference = trial.pop(DATA)
        if reference != self._reference:  # the trials of a round share their data
            self._reference, self._data = reference, ray.get(reference)
        self.worker.start(TrialConfig.model_validate(trial), self._data)
        return True

    def step(self) -> Result:
        """Run epochs for `step_seconds`; see `study.search.trial_worker.TrialWorker.step`.

        Raises:
            DeviceError: the device failed; Tune then replaces this process.
            RayActorError: the machine is about to be taken away; Tune then places the trial on
                another one, where it goes on from its last epoch, and counts no failure.
        """
        if own_node_drains():
            raise RayActorError(error_msg="its machine is about to be removed", preempted=True)
        return self.worker.step(self.step_seconds)
