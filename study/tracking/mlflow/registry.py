"""Register the winner in MLflow's model registry, one version per study, with a champion alias.

The winner is the configuration that validation chose, if it beats chance on test. If the winner has
no delta, the best configuration with a delta is registered instead.
The alias moves by validation: to a version with a better score under the same protocol and
selection rule on the same split. A version also shows its test scores, which are never compared.
A version that is not shown to beat chance on test does not get the alias.
"""

import logging
import re
import shutil
import tempfile
import time
import warnings
from pathlib import Path

import mlflow.pyfunc
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Metric
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models.model import MLMODEL_FILE_NAME, Model
from mlflow.types.schema import ColSpec, DataType, Map, Schema
from PIL import Image

from study.data.images.sources import encode_base64
from study.data.shots import read_shots
from study.errors import StudyError
from study.process.templates import templates
from study.results.chosen_configuration import TEST_BALANCED, ChosenConfiguration
from study.serving.saved_model import read_delta
from study.storage.command_lines import study_command
from study.storage.study_folder import CHAMPION, REGISTERED, Registration
from study.tracking.mlflow import server
from study.tracking.mlflow.champion import BEATS_CHANCE, NOT_SHOWN, SHOWN, decide_champion
from study.tracking.mlflow.requirements import requirements
from study.tracking.mlflow.run_content import (
    METRIC_DIGITS,
    SCORE,
    Tags,
    describe_settings,
    format_params,
    round_significant,
    without_score_duplicates,
)
from study.tracking.mlflow.study_run import StudyRun
from study.trial.prepare import shots_path
from study.trial.study import BEST

logger = logging.getLogger(__name__)

PACKAGE = Path(__file__).parents[2]
"""This package, which is copied into each model with all its code: a process that loads a model
before it imports the package takes all of the package from the model."""
NO_CODE = shutil.ignore_patterns("*.md", "*.png", "__pycache__")
"""The files of the package that a model can do without."""


def register_winner(run: StudyRun) -> Registration | None:
    """Register a study's winner once, decide which version is champion, write ``registered.json``.

    Args:
        run: the study's own run.

    Returns:
        The registration; None if the study has no winner, because nothing is tested or the
        choice does not beat chance.

    Raises:
        StudyError: the registry does not accept the winner, or not in time.
    """
    study, folder = run.study, run.study.folder
    best = ChosenConfiguration.read(study)
    registered = ChosenConfiguration.read_final(study)
    if not best or registered is None or not (best.trials and registered.trials):
        return None
    for choice in (best, registered):
        if choice.at_chance:
            logger.warning(
                "nothing of study '%s' is registered: the balanced score of what validation chose "
                "is %.1f%% on test and chance is %.1f%%",
                folder.name,
                100 * choice.test_scores[TEST_BALANCED],
                100 * (choice.chance or 0.0),
            )
            return None
    registrar = _Registrar(registered, run)
    registration = server.call_mlflow(
        server.SEVERAL_WITHIN, registrar.register, "MLflow does not take the model"
    )
    folder.write_json(REGISTERED, registration)
    return registration


def register_or_warn(run: StudyRun) -> None:
    """Register the winner, or log why that failed, since a study is complete without it."""
    try:
        register_winner(run)
    except StudyError as error:
        logger.warning(
            "the winner is not in the model registry: %s; to put it there, run\n  %s",
            error,
            study_command("sync", run.study.folder.path),
        )


def model_name(dataset: str) -> str:
    """Return a dataset's model name, without slashes and colons, which model addresses use."""
    return f"clipfit-{re.sub(r'[^A-Za-z0-9._-]+', '-', dataset).strip('-')}"


class _Registrar:
    """Registers the winner of one study as a version of a model."""

    def __init__(self, winner: ChosenConfiguration, run: StudyRun) -> None:
        self._winner = winner
        self._run = run
        self._study = run.study
        self._client = run.client
        self._name = model_name(run.study.config.data.dataset)

    def register(self) -> Registration:
        tags = self._version_tags()
        try:
            self._client.create_registered_model(
                self._name,
                tags={"dataset": tags["dataset"]},
                description=f"CLIP tuned by studies on {tags['dataset']}, one version a study. The "
                f"alias `{CHAMPION}` goes to the best validation score under one protocol, "
                "selection rule and split.",
            )
        except MlflowException:
            self._client.get_registered_model(self._name)  # another study may have just created it
        # A study that was extended may have several versions.
        versions = self._client.search_model_versions(
            f"name = '{self._name}' and {_same_model(tags)}"
        )
        version = versions[0] if versions else self._create_version(tags)
        is_champion, reason = decide_champion(self._client, self._study.folder, version, tags)
        registration = Registration(self._name, str(version.version), is_champion, reason)
        code = f"\n\n```python\nimport mlflow\n\n{registration.loading_line(lasting=True)}\n```"
        description = version.description or ""
        if code not in description:
            self._client.update_model_version(self._name, version.version, description + code)
        return registration

    def _version_tags(self) -> Tags:
        """Return the tags of a version: where it is from, and how it was chosen."""
        study = self._study
        config = study.config
        candidate = self._winner.candidate
        settings = candidate.settings
        trained = self._winner.model_trial
        source = study.folder.trial(str(candidate.source_trial))
        rule = study.protocol.rule_from_report(config, source.read_reports()[-1])
        shots = read_shots(shots_path(study, trained.read_config()["seed"]))
        tags = {
            "study": study.folder.name,
            "study_id": str(study.folder.read_identity()["study_id"]),
            "dataset": config.data.dataset,
            "protocol": config.protocol,
            "metric": study.protocol.metric,
            "backbone": config.backbone.name,
            "backbone_revision": str(config.backbone.revision),
            "subset": str(settings.column_values()["subset"]),
            "head": settings.head,
            "strength": repr(settings.strength),
            "selection": rule.name,
            "split_hash": source.read_config()["split_hash"],
            SCORE: repr(round_significant(candidate.val_score, METRIC_DIGITS)),
            "trial_id": trained.trial_id,
            "source_trial": source.trial_id,
            "training_data_hash": shots.digest,
        }
        if self._winner.final:
            tags["final_images"] = config.final.images
        against_chance = self._winner.against_chance
        if against_chance:
            tags[BEATS_CHANCE] = SHOWN if against_chance.is_proven else NOT_SHOWN
        return tags

    def _create_version(self, tags: Tags) -> ModelVersion:
        # An earlier attempt may have created it, and lost the server's answer.
        models = self._client.search_logged_models([self._run.experiment_id], _same_model(tags))
        logged = next(iter(models), None) or self._client.create_logged_model(
            self._run.experiment_id,
            name=self._name,
            source_run_id=self._run.run_id,
            tags=tags,
            params=format_params(self._winner.candidate.settings.column_values()),
            model_type="classifier",
        )
        if logged.status != LoggedModelStatus.READY:
            with tempfile.TemporaryDirectory() as scratch:
                model = self._write_model(Path(scratch), logged)
                self._client.log_model_artifacts(logged.model_id, str(model))
            self._client.finalize_logged_model(logged.model_id, "READY")
        self._link_to_run(logged)
        return self._client.create_model_version(
            self._name,
            # Not the model's id: MLflow would look it up on the process's default server, not on
            # this client's.
            source=logged.artifact_location,
            run_id=self._run.run_id,
            tags=tags,
            description=self._describe_version(tags),
            model_id=logged.model_id,
        )

    def _link_to_run(self, logged: LoggedModel) -> None:
        """Make a logged model an output of the study's own run, and send its scores."""
        run_id, model_id = self._run.run_id, logged.model_id
        outputs = self._client.get_run(run_id).outputs.model_outputs
        if model_id in [output.model_id for output in outputs]:
            return
        if not self._client.get_logged_model(model_id).metrics:
            scores = {SCORE: self._val_score, **self._winner.model_scores}
            now = int(time.time() * 1000)
            metrics = [
                Metric(key, value, now, 0, model_id=model_id)
                for key, value in without_score_duplicates(scores).items()
            ]
            self._client.log_batch(run_id, metrics=metrics)
        self._client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])

    @property
    def _val_score(self) -> float:
        return self._winner.candidate.val_score or 0.0

    def _describe_version(self, tags: Tags) -> str:
        """Return a version's description: what it is, its scores, and how certain they are."""
        candidate = self._winner.candidate
        template = templates(Path(__file__).parent).get_template("version.md.jinja")
        description = template.render(
            winner=self._winner,
            is_best=candidate.label == BEST,
            tags=tags,
            settings=describe_settings(candidate.settings),
            val_score=self._val_score,
            final_images=self._study.config.final.images,
        )
        return str(description)

    def _write_model(self, scratch: Path, logged: LoggedModel) -> Path:
        """Write the winner as an MLflow model of code, delta and names, without a pickle.

        The code is this package, so that the model can be served where that is not installed.

        Raises:
            StudyError: the winner has no delta, and no other delta names its backbone and classes.
        """
        folder = scratch / "model"
        delta, info = read_delta(self._winner, self._study, scratch)
        description = Model(
            artifact_path=logged.artifact_location,
            model_uuid=logged.model_id,
            run_id=self._run.run_id,
            model_id=logged.model_id,
        )
        # A drawn image, not one of the user's, since a registry is shared.
        example = encode_base64(Image.linear_gradient("L").resize((32, 32)))
        served = {
            "class_names": list(info.class_names),
            "templates": list(info.templates),
            "backbone": info.backbone,
            "revision": info.revision,
            "device": "auto",
            **info.reading.model_facts(),
        }
        code = scratch / "code" / PACKAGE.name
        shutil.copytree(PACKAGE, code, ignore=NO_CODE)
        with warnings.catch_warnings(record=True):  # see `study.tracking.mlflow.served_model`
            mlflow.pyfunc.save_model(
                folder,
                python_model=str(Path(__file__).with_name("served_model.py")),
                artifacts={"delta": str(delta)},
                mlflow_model=description,
                input_example=[example],
                pip_requirements=requirements(self._study.architecture),
                code_paths=[str(code)],
                model_config=served,
            )
        _add_output_schema(folder)
        return folder


def _same_model(tags: Tags) -> str:
    """Return the condition, for MLflow, that a model is of the study and trials of these tags."""
    keys = ("study_id", "source_trial", "trial_id")
    return " AND ".join(f"tags.{key} = '{tags[key]}'" for key in keys)


def _add_output_schema(folder: Path) -> None:
    """Add the schema of predictions to a saved model, of which MLflow infers only the inputs."""
    model = Model.load(folder)
    if model.signature is None:
        return
    columns = [
        ColSpec(DataType.string, "class_name"),
        ColSpec(DataType.double, "probability"),
        ColSpec(Map(DataType.double), "probabilities"),
    ]
    model.signature.outputs = Schema(columns)
    model.save(str(folder / MLMODEL_FILE_NAME))
