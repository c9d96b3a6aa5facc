"""Register the winner in MLflow's model registry, one version per study, with a champion alias.

The winner is the configuration that validation chose, if it beats chance on test. If the winner has
no delta, the best configuration with a delta is registered instead. Which version is champion, see
`study.tracking.mlflow.champion`.
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
from study.results.best_configuration import TEST_BALANCED, BestConfiguration, read_best, read_final
from study.serving.saved_model import read_delta
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
from study.trial.study import BEST, Study

logger = logging.getLogger(__name__)

PACKAGE = Path(__file__).parents[2]
"""This package, which is copied into each model with all its code: a process that loads a model
before it imports the package takes all of the package from the model."""
NO_CODE = shutil.ignore_patterns("*.md", "*.png", "__pycache__")
"""The files of the package that a model can do without."""
OUTPUTS = Schema(
    [
        ColSpec(DataType.string, "class_name"),
        ColSpec(DataType.double, "probability"),
        ColSpec(Map(DataType.double), "probabilities"),
    ]
)
"""The schema of predictions; MLflow infers only that of the inputs, which it does not enforce."""


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
    best = read_best(run.study)
    registered = read_final(run.study)
    if not best or registered is None or not (best.trials and registered.trials):
        return None
    for choice in (best, registered):
        if choice.at_chance:
            logger.warning(
                "nothing of study '%s' is registered: the balanced score of what validation chose "
                "is %.1f%% on test and chance is %.1f%%",
                run.study.folder.name,
                100 * choice.test_scores[TEST_BALANCED],
                100 * (choice.chance or 0.0),
            )
            return None
    registration = server.call_mlflow(
        server.SEVERAL_WITHIN,
        _Registrar(registered, run).register,
        "MLflow does not take the model",
    )
    run.study.folder.write_json(REGISTERED, registration)
    return registration


def model_name(dataset: str) -> str:
    """Return a dataset's model name, without slashes and colons, which model addresses use."""
    return f"clipfit-{re.sub(r'[^A-Za-z0-9._-]+', '-', dataset).strip('-')}"


class _Registrar:
    """Registers the winner of one study as a version of a model."""

    def __init__(self, winner: BestConfiguration, run: StudyRun) -> None:
        self._winner = winner
        self._run = run
        self._client = run.client
        self._name = model_name(run.study.config.data.dataset)
        self._tags = version_tags(run.study, winner)
        same = (f"tags.{k} = '{self._tags[k]}'" for k in ("study_id", "source_trial", "trial_id"))
        self._same_model = " AND ".join(same)

    def register(self) -> Registration:
        dataset = self._tags["dataset"]
        try:
            self._client.create_registered_model(
                self._name,
                tags={"dataset": dataset},
                description=f"CLIP tuned by studies on {dataset}, one version a study. The alias "
                f"`{CHAMPION}` goes to the best validation score under one protocol, selection "
                "rule and split.",
            )
        except MlflowException:
            self._client.get_registered_model(self._name)  # another study may have just created it
        # A study that was extended may have several versions.
        versions = self._client.search_model_versions(
            f"name = '{self._name}' and {self._same_model}"
        )
        version = versions[0] if versions else self._create_version()
        folder = self._run.study.folder
        is_champion, reason = decide_champion(self._client, folder, version, self._tags)
        registration = Registration(self._name, str(version.version), is_champion, reason)
        code = f"\n\n```python\nimport mlflow\n\n{registration.loading_line(lasting=True)}\n```"
        description = version.description or ""
        if code not in description:
            self._client.update_model_version(self._name, version.version, description + code)
        return registration

    def _create_version(self) -> ModelVersion:
        # An earlier attempt may have created it, and lost the server's answer.
        models = self._client.search_logged_models([self._run.experiment_id], self._same_model)
        logged = next(iter(models), None) or self._client.create_logged_model(
            self._run.experiment_id,
            name=self._name,
            source_run_id=self._run.run_id,
            tags=self._tags,
            params=format_params(self._winner.candidate.settings.column_values()),
            model_type="classifier",
        )
        if logged.status != LoggedModelStatus.READY:
            with tempfile.TemporaryDirectory() as scratch:
                model = self._write_model(Path(scratch), logged)
                self._client.log_model_artifacts(logged.model_id, str(model))
            self._client.finalize_logged_model(logged.model_id, "READY")
        self._link_to_run(logged.model_id)
        return self._client.create_model_version(
            self._name,
            # Not the model's id: MLflow would look it up on the process's default server, not on
            # this client's.
            source=logged.artifact_location,
            run_id=self._run.run_id,
            tags=self._tags,
            description=describe_version(self._run.study, self._winner),
            model_id=logged.model_id,
        )

    def _link_to_run(self, model_id: str) -> None:
        """Make a logged model an output of the study's own run, and send its scores."""
        run_id = self._run.run_id
        outputs = self._client.get_run(run_id).outputs.model_outputs
        if model_id in [output.model_id for output in outputs]:
            return
        if not self._client.get_logged_model(model_id).metrics:
            scores = {SCORE: self._winner.candidate.val_score or 0.0, **self._winner.model_scores}
            now = int(time.time() * 1000)
            metrics = [
                Metric(key, value, now, 0, model_id=model_id)
                for key, value in without_score_duplicates(scores).items()
            ]
            self._client.log_batch(run_id, metrics=metrics)
        self._client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])

    def _write_model(self, scratch: Path, logged: LoggedModel) -> Path:
        """Write the winner as an MLflow model of code, delta and names, without a pickle.

        The code is this package, so that the model can be served where that is not installed.

        Raises:
            StudyError: the winner has no delta, and no other delta names its backbone and classes.
        """
        delta, info = read_delta(self._winner, self._run.study, scratch)
        code = scratch / "code" / PACKAGE.name
        shutil.copytree(PACKAGE, code, ignore=NO_CODE)
        # A drawn image, not one of the user's, since a registry is shared.
        example = encode_base64(Image.linear_gradient("L").resize((32, 32)))
        with warnings.catch_warnings(record=True):  # see `study.tracking.mlflow.served_model`
            mlflow.pyfunc.save_model(
                scratch / "model",
                python_model=str(Path(__file__).with_name("served_model.py")),
                artifacts={"delta": str(delta)},
                mlflow_model=Model(
                    artifact_path=logged.artifact_location,
                    model_uuid=logged.model_id,
                    run_id=self._run.run_id,
                    model_id=logged.model_id,
                ),
                input_example=[example],
                pip_requirements=requirements(self._run.study.architecture),
                code_paths=[str(code)],
                model_config={
                    "class_names": list(info.class_names),
                    "templates": list(info.templates),
                    "backbone": info.backbone,
                    "revision": info.revision,
                    "device": "auto",
                    **info.reading.model_facts(),
                },
            )
        model = Model.load(scratch / "model")
        if model.signature is not None:
            model.signature.outputs = OUTPUTS
            model.save(str(scratch / "model" / MLMODEL_FILE_NAME))
        return scratch / "model"


def version_tags(study: Study, winner: BestConfiguration) -> Tags:
    """Return the tags of a version: where it is from, and how it was chosen."""
    config, candidate, trained = study.config, winner.candidate, winner.model_trial
    source = study.folder.trial(str(candidate.source_trial))
    tags = {
        "study": study.folder.name,
        "study_id": str(study.folder.read_identity()["study_id"]),
        "dataset": config.data.dataset,
        "protocol": config.protocol,
        "metric": study.protocol.metric,
        "backbone": config.backbone.name,
        "backbone_revision": str(config.backbone.revision),
        "subset": str(candidate.settings.column_values()["subset"]),
        "head": candidate.settings.head,
        "strength": repr(candidate.settings.strength),
        "selection": study.protocol.rule(config, source.read_reports()[-1]).name,
        "split_hash": source.read_config()["split_hash"],
        SCORE: repr(round_significant(candidate.val_score, METRIC_DIGITS)),
        "trial_id": trained.trial_id,
        "source_trial": source.trial_id,
        "training_data_hash": read_shots(shots_path(study, trained.read_config()["seed"])).digest,
    }
    if winner.final:
        tags["final_images"] = config.final.images
    if winner.against_chance:
        tags[BEATS_CHANCE] = SHOWN if winner.against_chance.is_proven else NOT_SHOWN
    return tags


def describe_version(study: Study, winner: BestConfiguration) -> str:
    """Return a version's description: what it is, its scores, and how certain they are."""
    settings = describe_settings(winner.candidate.settings)
    score = winner.model_scores.get("test_score")
    best = "Best configuration"
    if winner.candidate.label != BEST:
        best += " that can be written as a delta, which the best of all cannot,"
    if not winner.final:
        tested = f"on test {score:.1%}, the mean over {len(winner.trials)} seeds"
    else:
        tested = f"trained once more (final.images={study.config.final.images})"
        if score is None:
            tested += ", on the test images too, so it is not tested"
        else:
            tested += f", and on test {score:.1%}, which is one training"
    text = (
        f"{best} of the study `{study.folder.name}`: {settings} (trial "
        f"`{winner.model_trial.trial_id}`). {winner.candidate.val_score or 0.0:.1%} on validation; "
        f"{tested}."
    )
    if winner.against_chance and not winner.against_chance.is_proven:
        text += f" It is {winner.against_chance.doubt}."
    return text
