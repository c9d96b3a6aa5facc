"""Tuned models on disk: a delta, and what it is used with; that of a study's winner among them.

Of a winner, the delta of the first of ``confirm.seeds`` that was trained to its end is taken, by
the model registry as well.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from study.backbones.description import NAME_ON_HUB
from study.config.loading import load_config
from study.config.trial_settings import TrialSettings
from study.errors import DataError, DeltaError, StudyError
from study.method.delta import HEAD_ROWS, DeltaInfo, load_delta, save_delta
from study.selection.choice import TEST_BALANCED, Choice
from study.serving.classifier import TunedClassifier, load_classifier
from study.storage.command_lines import resume_command
from study.storage.study_folder import StudyFolder
from study.storage.trial_folder import TrialFolder
from study.trial.study import Study, candidate_to_register

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Origin:
    """The study and the trial that a model is from."""

    study: str
    """The name of the study."""
    study_id: str
    """The id of the study, which is of this study alone."""
    trial: str
    """The id of the trial."""


@dataclass(frozen=True)
class SavedModel:
    """A tuned model that has not been loaded."""

    name: str
    """What it is, in words."""
    delta: Path
    """The file of tuned parameters."""
    info: DeltaInfo
    """What the delta is used with, unless something else is asked for: it may name other classes,
    other templates (all of which are used) and another place of the backbone than the file."""
    settings: TrialSettings
    """What is tuned, the kind of the head, and the strength, as far as they are known. The
    strength of a model without origin is not."""
    instead_of: TrialSettings | None = None
    """The settings of a study's winner that has no delta, for which this model stands."""
    origin: Origin | None = None
    """Where it is from, as far as that is known."""

    @property
    def backbone_name(self) -> str:
        """The name of its checkpoint on the hub, or the last part of a folder's path.

        What is shared tells nothing else of this machine.
        """
        name = self.info.backbone
        return name if NAME_ON_HUB.fullmatch(name) else Path(name).name

    def load(
        self, *, class_names: Sequence[str] | None = None, device: str = "auto"
    ) -> TunedClassifier:
        """Load the model.

        Args:
            class_names: the classes to choose between; None means the model's own.
            device: see `study.method.device.choose_device`.

        Raises:
            StudyError: see `load_classifier`.
        """
        return load_classifier(
            self.delta,
            class_names=self.info.class_names if class_names is None else class_names,
            templates=self.info.templates,
            backbone=self.info.backbone,
            revision=self.info.revision,
            device=device,
            **self.info.reading.model_facts(),
        )


def read_saved_model(delta: Path) -> SavedModel:
    """Return the model of a file of tuned parameters.

    In the folder of a trial, it has the trial's settings and the templates that its study uses.
    Elsewhere, and where a file of the study is damaged, it has the template of its training, no
    origin, and a strength that is not known.

    Raises:
        DeltaError: the file is missing or damaged, or is no delta.
    """
    tensors, info = load_delta(delta)
    trial = TrialFolder(delta.resolve().parent)
    if trial.path.parent.name == "trials" and (trial.path / "config.json").exists():
        try:
            return _of_trial(delta, info, trial)
        except StudyError as error:
            logger.warning("%s is read alone, without what its study says of it: %s", delta, error)
    head = "linear" if HEAD_ROWS in tensors else "text"
    return SavedModel(
        str(delta),
        delta,
        replace(info, templates=info.templates[:1]),
        settings=TrialSettings(subset=info.subset, head=head),
    )


def _of_trial(delta: Path, info: DeltaInfo, trial: TrialFolder) -> SavedModel:
    folder = StudyFolder(trial.path.parent.parent)
    study = Study(load_config(folder.config_path, frozen=True), folder)
    reports = trial.read_reports()
    settings = TrialSettings.model_validate(trial.read_config()["settings"])
    return SavedModel(
        f"trial {trial.trial_id} of study '{folder.name}'",
        delta,
        _as_used(info, study),
        settings=settings.with_reported_head(reports[-1] if reports else {}),
        origin=Origin(folder.name, str(folder.read_identity()["study_id"]), trial.trial_id),
    )


def read_winner(study: Study, scratch: Path) -> SavedModel:
    """Return the model of a study's winner or, if it has no delta, the one that stands for it.

    This is the model that the registry gets of the study.

    Args:
        study: the study.
        scratch: a folder for a delta of a winner that tunes nothing.

    Raises:
        DataError: the study is not finished, or has no winner.
        DeltaError: no delta of the winner can be read.
        LedgerError: a file of the study is damaged.
    """
    name = study.folder.name
    best, kept = Choice.read(study), Choice.read(study, candidate_to_register)
    if best is None or kept is None:
        raise DataError(
            f"study '{name}' has no winner, since validation has chosen nothing (an ablation "
            "chooses nothing at all); allowed is a finished study, see clipfit-study status"
        )
    if not (study.folder.is_complete() and best.trials and kept.trials):
        raise DataError(
            f"study '{name}' is not finished, and what validation chose is not tested yet; to "
            f"continue, run\n  {resume_command(study.folder.path)}"
        )
    for choice in (best, kept):
        if choice.at_chance:
            raise DataError(
                f"study '{name}' has no winner: the balanced score of its choice "
                f"'{choice.candidate.label}' is {choice.test_scores[TEST_BALANCED]:.1%} on test "
                f"and guessing would have {choice.chance or 0.0:.1%} (chance); allowed is the "
                f"delta.safetensors of a trial, in {study.folder.path / 'trials'}"
            )
    delta, info = read_delta(kept, study, scratch)
    stands = kept.candidate.label != best.candidate.label
    what = "the best configuration with a file of tuned parameters" if stands else "the winner"
    return SavedModel(
        f"{what} of study '{name}' (trial {kept.trials[0].trial_id})",
        delta,
        info,
        settings=kept.candidate.settings,
        instead_of=best.candidate.settings if stands else None,
        origin=Origin(name, str(study.folder.read_identity()["study_id"]), kept.trials[0].trial_id),
    )


def read_delta(choice: Choice, study: Study, scratch: Path) -> tuple[Path, DeltaInfo]:
    """Return the delta of a choice, and what it is used with.

    Args:
        choice: a choice of the study with a finished confirmation, the first of which is taken.
        study: the study.
        scratch: a folder for the delta of a choice that tunes nothing, which has none of its own.

    Raises:
        DeltaError: there is no delta, or it is damaged.
    """
    trial, settings = choice.trials[0], choice.candidate.settings
    delta = trial.path / "delta.safetensors"
    if delta.exists():
        info = load_delta(delta)[1]
    elif settings.writes_delta and (settings.subset, settings.head) == ("none", "text"):
        # Any other delta of the study has the same backbone and names.
        if not (others := sorted(study.folder.path.glob("trials/confirm-*/delta.safetensors"))):
            raise DeltaError(f"study '{study.folder.name}' has kept no tuned parameters")
        info = replace(load_delta(others[0])[1], subset="none")
        delta = scratch / "delta.safetensors"
        save_delta(delta, {}, info)
    else:
        raise DeltaError(
            f"{delta} is missing"
            if settings.writes_delta
            else f"'{choice.candidate.label}' of study '{study.folder.name}' has no file of "
            "tuned parameters"
        )
    return delta, _as_used(info, study)


def _as_used(info: DeltaInfo, study: Study) -> DeltaInfo:
    """Return what a delta is used with in its study: the templates that test images met."""
    used = info.templates if study.config.data.ensemble else info.templates[:1]
    return replace(info, templates=used)
