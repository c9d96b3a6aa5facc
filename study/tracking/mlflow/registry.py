"""The winner in MLflow's model registry, one version per study, and the champion alias.

The alias moves by validation alone: to a version with a better score under the same selection rule
on the same split. A version also shows its test scores, which are never compared.
"""

import logging
import re
import tempfile
import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version as installed_version
from pathlib import Path

import mlflow.pyfunc
from mlflow.entities import LoggedModelOutput, Metric
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Map
from PIL import Image

from study.data.images.inputs import as_base64
from study.data.shots import read_shots
from study.errors import StudyError, TrackingError
from study.method.delta import DeltaInfo, load_delta, save_delta
from study.storage.ledger import REGISTERED, Registration, StudyFolder
from study.tracking.mlflow.choice import Choice
from study.tracking.mlflow.runs import RunWriter
from study.tracking.tracker import describe_unsent, first_line, within
from study.trial.prepare import shots_path

logger = logging.getLogger(__name__)

ALIAS = "champion"
WAIT_SECONDS = 120.0
"""How long the end of a study waits for the registry."""
CODE = Path(__file__).with_name("served_model.py")
REQUIREMENTS = ("mlflow", "torch", "transformers", "safetensors", "pillow", "numpy")
"""The served model's requirements; this package is also needed, but no package index has it."""
OUTPUTS = Schema(
    [
        ColSpec(DataType.string, "class_name"),
        ColSpec(DataType.double, "probability"),
        ColSpec(Map(DataType.double), "probabilities"),
    ]
)


def register_winner(writer: RunWriter, wait: float = WAIT_SECONDS) -> Registration | None:
    """Register a study's winner once, decide who is champion, and write ``registered.json``.

    Args:
        writer: the writer of the study's runs.
        wait: how many seconds this may take.

    Returns:
        The registration; None if the study has no winner, because nothing is confirmed or the
        choice does not beat chance.

    Raises:
        StudyError: the registry does not accept the winner, or not in time.
    """
    winner, folder = Choice.read(writer.study), writer.study.folder
    if winner is None or not winner.trials:
        return None
    if winner.at_chance:
        logger.warning(
            "nothing of study '%s' is registered: what validation chose scores %.1f%% on test and "
            "chance is %.1f%%",
            folder.name,
            100 * winner.test_scores["test_score"],
            100 * (winner.chance or 0.0),
        )
        return None
    try:
        registration = within(wait, _Registrar(winner, writer).register)
    except StudyError:
        raise
    except Exception as error:  # from MLflow, a database, its driver or the network
        raise TrackingError(f"MLflow does not take the model ({first_line(error)})") from None
    folder.write_json(REGISTERED, registration)
    return registration


def register_or_tell(writer: RunWriter, unsent: Mapping[str, str]) -> None:
    """Register the winner; only log a failure, since a study is complete without it.

    Args:
        writer: see `register_winner`.
        unsent: the trials that MLflow lacks, and why; if there are any, nothing is registered.
    """
    try:
        if not unsent:
            register_winner(writer)
        elif (choice := Choice.read(writer.study)) and choice.is_winner:
            raise TrackingError(f"MLflow lacks {describe_unsent(unsent, 1)}")
    except StudyError as error:
        logger.warning(
            "the winner is not in the model registry: %s; put it there by clipfit-study --sync %s",
            error,
            writer.study.name,
        )


def model_name(dataset: str) -> str:
    """Return a dataset's model name, without slashes and colons, which model addresses use."""
    return f"clipfit-{re.sub(r'[^A-Za-z0-9._-]+', '-', dataset).strip('-')}"


class _Registrar:
    def __init__(self, winner: Choice, writer: RunWriter) -> None:
        self._winner, self._writer = winner, writer
        self._study, self._client = writer.study, writer.client
        self._name = model_name(writer.study.config.data.dataset)

    def register(self) -> Registration:
        self._ensure_model()
        tags = self._tags()
        found = self._client.search_model_versions(
            f"name = '{self._name}' and tags.study_id = '{tags['study_id']}' and "
            f"tags.source_trial = '{tags['source_trial']}'"  # an extended study may have several
        )
        version = found[0] if found else self._create_version(tags)
        champion, reason = self._decide(version, tags)
        return Registration(
            model=self._name, version=str(version.version), champion=champion, reason=reason
        )

    def _ensure_model(self) -> None:
        try:
            self._client.get_registered_model(self._name)
        except MlflowException:
            dataset = self._study.config.data.dataset
            self._client.create_registered_model(
                self._name,
                tags={"dataset": dataset},
                description=f"CLIP tuned by studies on {dataset}, one version a study. The alias "
                f"`{ALIAS}` goes to the best validation score under one selection rule and split.",
            )

    def _tags(self) -> dict[str, str]:
        """Return the tags of a version: its origin and how it was chosen."""
        config, candidate = self._study.config, self._winner.candidate
        source = self._study.folder.trial(str(candidate.source_trial))
        trained = self._winner.trials[0]
        shots = shots_path(self._study, trained.read_config()["seed"])
        return {
            "study": self._study.folder.name,
            "study_id": str(self._study.folder.read_identity()["study_id"]),
            "dataset": config.data.dataset,
            "protocol": config.protocol,
            "backbone": config.backbone.name,
            "backbone_revision": str(config.backbone.revision),
            "subset": candidate.settings.subset,
            "selection": self._study.protocol().rule_used(config, source.read_reports()[-1]).name,
            "split_hash": source.read_config()["split_hash"],
            "val_score": repr(candidate.val_score),
            "trial_id": trained.trial_id,
            "source_trial": str(candidate.source_trial),
            "training_data_hash": read_shots(shots).digest,
        }

    def _create_version(self, tags: Mapping[str, str]) -> ModelVersion:
        candidate, parent_id = self._winner.candidate, self._writer.parent_id
        settings = candidate.settings.flat()
        logged = self._client.create_logged_model(
            self._writer.experiment_id,
            name=self._name,
            source_run_id=parent_id,
            tags=dict(tags),
            params={key: str(value) for key, value in settings.items() if value is not None},
            model_type="classifier",
        )
        with tempfile.TemporaryDirectory() as scratch:
            description = Model(
                artifact_path=logged.artifact_location,
                model_uuid=logged.model_id,
                run_id=parent_id,
                model_id=logged.model_id,
            )
            self._save(Path(scratch) / "model", description)
            self._client.log_model_artifacts(logged.model_id, str(Path(scratch) / "model"))
        self._client.finalize_logged_model(logged.model_id, "READY")
        self._client.log_outputs(parent_id, [LoggedModelOutput(logged.model_id, step=0)])
        scores = {"val_score": candidate.val_score or 0.0, **self._winner.test_scores}
        now = int(time.time() * 1000)
        metrics = [Metric(key, scores[key], now, 0, model_id=logged.model_id) for key in scores]
        self._client.log_batch(parent_id, metrics=metrics)
        return self._client.create_model_version(
            self._name,
            # Not the model's id: MLflow would look it up on the process's default server, not on
            # this client's.
            source=logged.artifact_location,
            run_id=parent_id,
            tags=dict(tags),
            description=f"Winner of the study `{tags['study']}`: `{tags['subset']}`, as trained in "
            f"`{tags['trial_id']}`. {scores['val_score']:.1%} on validation; on test "
            f"{scores['test_score']:.1%}, the mean over {len(self._winner.trials)} seeds.",
            model_id=logged.model_id,
        )

    def _decide(self, version: ModelVersion, tags: Mapping[str, str]) -> tuple[bool, str]:
        """Move the alias if the version wins; return whether the version has it, and why."""
        aliases = self._client.get_registered_model(self._name).aliases
        champion = (
            self._client.get_model_version(self._name, aliases[ALIAS]) if ALIAS in aliases else None
        )
        if champion is not None and str(champion.version) == str(version.version):
            known = self._study.folder.read_registration()
            return True, known.reason if known and known.champion else "it has been given the alias"
        wins, reason = judge(tags, None if champion is None else champion.tags)
        if wins:
            self._client.set_registered_model_alias(self._name, ALIAS, version.version)
        elif champion is not None:
            reason = f"version {champion.version} stays, since {reason}"
        return wins, reason

    def _save(self, path: Path, description: Model) -> None:
        """Write the winner as an MLflow model of code, delta and names; no pickle, no backbone."""
        with tempfile.TemporaryDirectory() as scratch:
            delta = self._winner.trials[0].path / "delta.safetensors"
            if delta.exists():
                _, info = load_delta(delta)
            else:  # nothing is tuned; another delta of the study has the same backbone and names
                info = replace(_any_info(self._study.folder), subset="none")
                delta = Path(scratch) / "delta.safetensors"
                save_delta(delta, {}, info)
            templates = info.templates if self._study.config.data.ensemble else info.templates[:1]
            with warnings.catch_warnings(record=True):  # see `study.tracking.mlflow.served_model`
                mlflow.pyfunc.save_model(
                    path,
                    python_model=str(CODE),
                    artifacts={"delta": str(delta)},
                    mlflow_model=description,
                    # A drawn image, not one of the user's, since a registry is shared.
                    input_example=[as_base64(Image.linear_gradient("L").resize((32, 32)))],
                    pip_requirements=[f"{lib}=={installed_version(lib)}" for lib in REQUIREMENTS],
                    model_config={
                        "class_names": list(info.class_names),
                        "templates": list(templates),
                        "backbone": info.backbone,
                        "revision": info.revision,
                        "device": "auto",
                        "pixel_range": info.pixel_range and list(info.pixel_range),
                    },
                )
        if (saved := Model.load(path)).signature is not None:  # MLflow infers only the inputs
            saved.signature.outputs = OUTPUTS
            saved.save(str(path / MLMODEL_FILE_NAME))


def judge(challenger: Mapping[str, str], champion: Mapping[str, str] | None) -> tuple[bool, str]:
    """Return whether a version should be champion, and why.

    Args:
        challenger: the tags of the new version.
        champion: the tags of the present champion; None if there is none.
    """
    if champion is None:
        return True, "it is the first"
    for key, what in (("selection", "selection rule"), ("split_hash", "split")):
        own, other = challenger[key], champion.get(key)
        if own != other:
            return False, (
                f"this one was chosen under another {what} ({other}, here {own}) and validation "
                "scores do not compare"
            )
    own_score, other_score = float(challenger["val_score"]), float(champion["val_score"])
    study = champion.get("study")
    if own_score > other_score:
        return True, f"it validates at {own_score:.1%}, study '{study}' at {other_score:.1%}"
    return False, f"this one validates at {own_score:.1%}, no better than study '{study}'"


def _any_info(folder: StudyFolder) -> DeltaInfo:
    for path in sorted(folder.path.glob("trials/confirm-*/delta.safetensors")):
        return load_delta(path)[1]
    raise StudyError(f"study '{folder.name}' has kept no tuned parameters")
