"""The worker of Tune that runs trials, one after the other."""

from pathlib import Path
from typing import Any

from ray import tune
from ray.exceptions import RayActorError

from study.config.schema import StudyConfig
from study.search.ray_internals import own_node_drains
from study.search.recorded_trials import DataByStage
from study.search.scheduler import Result
from study.search.trial_worker import TrialWorker
from study.storage.study_folder import StudyFolder
from study.trial.study import TrialConfig


class ClipFitTrainable(tune.Trainable):
    """A `TrialWorker` in a process of Ray; a step is an epoch.

    If a worker dies, another one, on any node, continues the trial after its last recorded epoch.
    """

    def setup(
        self,
        config: dict[str, Any],
        *,
        folder: Path,
        settings: StudyConfig,
        data: DataByStage,
    ) -> None:
        """Make the worker of this process, and start its first trial.

        Args:
            config: the first trial's `TrialConfig` as a mapping.
            folder: the study's folder.
            settings: the configuration of the study.
            data: the data of the trials, by stage and seed.
        """
        self.worker = TrialWorker(StudyFolder(folder), settings, data)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in this process."""
        self.worker.start(TrialConfig.model_validate(new_config))
        return True

    def step(self) -> Result:
        """Run one epoch; see `TrialWorker.step`.

        Raises:
            DeviceError: the device failed; Tune then replaces this process.
            RayActorError: the machine is about to be taken away; Tune then places the trial on
                another one, where it goes on from its last epoch, and counts no failure.
        """
        if own_node_drains():
            raise RayActorError(error_msg="its machine is about to be taken away", preempted=True)
        return self.worker.step()
