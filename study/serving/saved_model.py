"""Tuned models on disk: a delta with everything that is needed to use it.

The final model of a study is that of its final training or, without one, that of the first of
``test.seeds`` that was trained to its end. The model registry gets the same one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from study.backbones.description import EMBEDDED, NAME_ON_HUB
from study.config.trial_settings import TrialSettings
from study.errors import DataError, DeltaError, SubsetError
from study.method.delta import HEAD_ROWS, DeltaInfo, load_delta
from study.method.subsets import parse
from study.results.best_configuration import (
    BestConfiguration,
    final_trial,
    read_best,
    read_final,
)
from study.serving.classifier import TunedClassifier, load_classifier
from study.storage.command_lines import study_command
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import TrialFolder
from study.trial.study import Study

DELTA = "delta.safetensors"
"""The name of the file of a trial's tuned parameters."""


class Origin(NamedTuple):
    """The study and the trial that a model comes from."""

    study_id: str
    """The unique id of the study."""
    trial: str
    """The id of the trial."""


@dataclass(frozen=True)
class SavedModel:
    """A tuned model that has not been loaded."""

    name: str
    """A description of the model, for messages."""
    delta: Path
    """The file of tuned parameters."""
    info: DeltaInfo
    """The facts in the file: classes, templates and the location of the backbone."""
    settings: TrialSettings
    """The tuned parameters, the kind of the head, and α, as far as they are known. The
    α of a model without origin is unknown."""
    instead_of: TrialSettings | None = None
    """The settings of the study's best configuration, if it cannot be saved as a delta and this
    is the best that can."""
    origin: Origin | None = None
    """The study and trial of the model; None if they are unknown."""

    @property
    def is_on_hub(self) -> bool:
        """Whether its checkpoint has a name of the hub, and is none of this package or machine."""
        name = self.info.backbone
        return name != EMBEDDED and NAME_ON_HUB.fullmatch(name) is not None

    @property
    def backbone_name(self) -> str:
        """The name of its checkpoint on the hub, or the name of the checkpoint's folder.

        Shared files must not contain other paths of this machine.
        """
        name = self.info.backbone
        return name if self.is_on_hub else Path(name).name

    def load_classifier(
        self, *, class_names: Sequence[str] | None = None, device: str = "auto"
    ) -> TunedClassifier:
        """Load the model as a classifier.

        Args:
            class_names: the classes to choose between; None means the model's own.
            device: see `study.method.device.choose_device`.

        Raises:
            StudyError: see `load_classifier`.
        """
        classifier = load_classifier(self.delta, class_names=class_names, device=device)
        return replace(classifier, name=self.name)


def read_saved_model(delta: Path) -> SavedModel:
    """Return the model of a file of tuned parameters.

    If the file is in the folder of a trial, the model has the trial's settings. Elsewhere, it has
    no origin, and an unknown α.

    Raises:
        DeltaError: the file is missing or damaged, or is not a delta.
        StudyError: a file of its study is damaged.
    """
    tensors, info = load_delta(delta)
    trial = TrialFolder(delta.resolve().parent)
    if trial.path.parent.name == "trials" and (trial.path / "config.json").exists():
        folder = StudyFolder(trial.path.parent.parent)
        settings = TrialSettings.model_validate(trial.read_config()["settings"])
        for report in trial.read_reports()[-1:]:
            settings = settings.with_reported_head(report)
        return SavedModel(
            f"trial {trial.trial_id} of study '{folder.name}'",
            delta,
            info,
            settings=settings,
            origin=Origin(folder.read_identity()["study_id"], trial.trial_id),
        )
    try:
        parse(info.subset)
    except SubsetError as error:
        raise DeltaError(f"delta {delta} has damaged metadata: {error}") from error
    head = "linear" if HEAD_ROWS in tensors else "text"
    settings = TrialSettings(subset=info.subset, head=head)
    return SavedModel(str(delta), delta, info, settings=settings)


def read_best_model(study: Study) -> SavedModel:
    """Return the model of a study's best configuration, or of the best that has a delta.

    The registry gets the same model of the study. While a study is extended, it is that of before.

    Raises:
        DataError: the study is not finished, or has no best configuration.
        DeltaError: the delta of the best configuration cannot be read.
        FolderError: a file of the study is damaged.
    """
    name = study.folder.name
    if not study.folder.is_complete():
        earlier = final_trial(study)
        if earlier and (earlier.path / DELTA).exists():
            saved = read_saved_model(earlier.path / DELTA)
            return replace(
                saved,
                name=f"the final model of study '{name}' from before its extension, which has not "
                f"ended (trial {earlier.trial_id})",
            )
    best = read_best(study)
    registered = read_final(study)
    if not best or registered is None:
        raise DataError(
            f"study '{name}' has no best configuration, since validation has chosen nothing (an "
            "ablation chooses nothing); expected a finished study, see clipfit-study status"
        )
    if not (study.folder.is_complete() and best.trials and registered.trials):
        raise DataError(
            f"study '{name}' is not finished and has no final model yet; to continue, run\n"
            f"  {study_command('resume', study.folder.path)}"
        )
    refuse_chance(study, best, registered)
    instead_of = None
    if registered.candidate.label != best.candidate.label:
        instead_of = best.candidate.settings
    return replace(
        read_tested_model(registered),
        name=f"the final model of study '{name}' (trial {registered.model_trial.trial_id})",
        instead_of=instead_of,
    )


def read_tested_model(best: BestConfiguration) -> SavedModel:
    """Return the model of a best configuration that has finished tests.

    Raises:
        DeltaError: its delta is missing or damaged, or has the head of an earlier best
            configuration of the same training.
    """
    saved, head = read_saved_model(best.model_trial.path / DELTA), best.candidate.settings.head
    if saved.settings.head != head:
        raise DeltaError(
            f"{saved.delta} has the {saved.settings.head} head of an earlier best configuration; "
            f"expected a {head} head"
        )
    return saved


def refuse_chance(study: Study, *configurations: BestConfiguration) -> None:
    """Raise if a configuration is known to be no better than guessing.

    Raises:
        DataError: it is; the message names both scores.
    """
    for configuration in configurations:
        chance = configuration.against_chance
        if chance and configuration.at_chance:
            raise DataError(
                f"study '{study.folder.name}' has no model to use: the balanced score of its best "
                f"configuration '{configuration.candidate.label}' is {chance.balanced:.1%} on test "
                f"and guessing would have {chance.chance:.1%} (chance); use the "
                f"delta.safetensors of a trial, in {study.folder.path / 'trials'}"
            )
