"""The winner in MLflow's model registry, one version per study, and the champion alias.

The winner is the configuration that validation chose, if it beats chance on test. Of one that has
no delta, the best configuration with a delta is registered in its place.
The alias moves by validation: to a version with a better score under the same protocol and
selection rule on the same split. A version also shows its test scores, which are never compared;
but one that is not shown to beat chance on test takes the alias from none that is.
"""

import logging
import re
import tempfile
import time
import warnings
from collections.abc import Mapping
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
from study.errors import StudyError, TrackingError
from study.selection.choice import TEST_BALANCED, Choice
from study.selection.optimism import read_optimism
from study.serving.saved_model import read_delta
from study.storage.command_lines import sync_command
from study.storage.study_folder import CHAMPION, REGISTERED, Registration
from study.tracking.mlflow import server
from study.tracking.mlflow.champion import BEATS_CHANCE, NOT_SHOWN, SHOWN, VAL_ERROR, judge
from study.tracking.mlflow.requirements import requirements
from study.tracking.mlflow.run_content import (
    METRIC_DIGITS,
    PARAMETER_DIGITS,
    SCORE,
    TEST_SCORE,
    rounded,
    settings_markdown,
    without_score_duplicates,
)
from study.tracking.mlflow.study_run import StudyRun
from study.tracking.tracker import describe_unsent
from study.trial.prepare import shots_path
from study.trial.study import BEST, candidate_to_register

logger = logging.getLogger(__name__)

PACKAGE = Path(__file__).parents[2]
"""This package, the whole of which goes with a model: a process that loads a model before it
imports the package takes all of it from the model."""


def register_winner(
    run: StudyRun, wait: float | None = server.SEVERAL_WITHIN
) -> Registration | None:
    """Register a study's winner once, decide who is champion, and write ``registered.json``.

    Args:
        run: the study's own run.
        wait: how many seconds this may take; None sets no limit.

    Returns:
        The registration; None if the study has no winner, because nothing is confirmed or the
        choice does not beat chance.

    Raises:
        StudyError: the registry does not accept the winner, or not in time.
    """
    study, folder = run.study, run.study.folder
    best, kept = Choice.read(study), Choice.read(study, candidate_to_register)
    if best is None or kept is None or not (best.trials and kept.trials):
        return None
    for choice in (best, kept):
        if choice.at_chance:
            logger.warning(
                "nothing of study '%s' is registered: the balanced score of what validation chose "
                "is %.1f%% on test and chance is %.1f%%",
                folder.name,
                100 * choice.test_scores[TEST_BALANCED],
                100 * (choice.chance or 0.0),
            )
            return None
    registration = server.ask(
        wait, _Registrar(kept, run).register, "MLflow does not take the model"
    )
    folder.write_json(REGISTERED, registration)
    return registration


def register_or_warn(
    run: StudyRun,
    unsent: Mapping[str, str],
    wait: float | None = server.SEVERAL_WITHIN,
) -> None:
    """Register the winner; only log a failure, since a study is complete without it.

    Args:
        run: see `register_winner`.
        unsent: the trials that MLflow lacks, and why; if there are any, nothing is registered.
        wait: see `register_winner`.
    """
    try:
        if not unsent:
            register_winner(run, wait)
        elif (choice := Choice.read(run.study)) and choice.is_winner:
            raise TrackingError(f"MLflow lacks {describe_unsent(unsent, 1)}")
    except StudyError as error:
        logger.warning(
            "the winner is not in the model registry: %s; to put it there, run\n  %s",
            error,
            sync_command(run.study.folder.path),
        )


def model_name(dataset: str) -> str:
    """Return a dataset's model name, without slashes and colons, which model addresses use."""
    return f"clipfit-{re.sub(r'[^A-Za-z0-9._-]+', '-', dataset).strip('-')}"


class _Registrar:
    def __init__(self, winner: Choice, run: StudyRun) -> None:
        self._winner, self._run = winner, run
        self._study, self._client = run.study, run.client
        self._optimism = read_optimism(run.study.folder)
        self._name = model_name(run.study.config.data.dataset)

    def register(self) -> Registration:
        tags = self._tags()
        try:
            self._client.get_registered_model(self._name)
        except MlflowException:
            self._client.create_registered_model(
                self._name,
                tags={"dataset": tags["dataset"]},
                description=f"CLIP tuned by studies on {tags['dataset']}, one version a study. The "
                f"alias `{CHAMPION}` goes to the best validation score under one protocol, "
                "selection rule and split.",
            )
        found = self._client.search_model_versions(
            f"name = '{self._name}' and tags.study_id = '{tags['study_id']}' and "
            f"tags.source_trial = '{tags['source_trial']}'"  # an extended study may have several
        )
        version = found[0] if found else self._create_version(tags)
        decided = Registration(self._name, str(version.version), *self._decide(version, tags))
        line = f"\n\n```python\nimport mlflow\n\n{decided.loading_line(lasting=True)}\n```"
        if line not in (described := version.description or ""):
            self._client.update_model_version(self._name, version.version, described + line)
        return decided

    def _tags(self) -> dict[str, str]:
        """Return the tags of a version: its origin and how it was chosen."""
        study, candidate, trained = self._study, self._winner.candidate, self._winner.trials[0]
        source = study.folder.trial(str(candidate.source_trial))
        return {
            "study": study.folder.name,
            "study_id": str(study.folder.read_identity()["study_id"]),
            "dataset": study.config.data.dataset,
            "protocol": study.config.protocol,
            "backbone": study.config.backbone.name,
            "backbone_revision": str(study.config.backbone.revision),
            "subset": str(candidate.settings.column_values()["subset"]),
            "head": candidate.settings.head,
            "strength": repr(candidate.settings.strength),
            "selection": study.protocol().rule_used(study.config, source.read_reports()[-1]).name,
            "split_hash": source.read_config()["split_hash"],
            SCORE: repr(rounded(candidate.val_score, METRIC_DIGITS)),
            **self._doubts(source.trial_id),
            "trial_id": trained.trial_id,
            "source_trial": source.trial_id,
            "training_data_hash": read_shots(
                shots_path(study, trained.read_config()["seed"])
            ).digest,
        }

    def _doubts(self, source: str) -> dict[str, str]:
        """Return the tags that say how sure a version's scores are, as far as that is known.

        Args:
            source: the id of the trial that the version was chosen as.
        """
        tags = {}
        if self._optimism is not None and source in self._optimism.errors:
            error = self._optimism.errors[source]
            tags[VAL_ERROR] = repr(rounded(error, METRIC_DIGITS))
        if self._winner.against_chance is not None:
            tags[BEATS_CHANCE] = SHOWN if self._winner.against_chance.shown else NOT_SHOWN
        return tags

    @property
    def _validated(self) -> str:
        """What the validation score is, in words; a maximum is called one."""
        score = self._winner.candidate.val_score or 0.0
        optimism = self._optimism.of(score) if self._optimism is not None else ""
        return f"{score:.1%} on validation{optimism}"

    @property
    def _doubt(self) -> str:
        """A clause where it is not shown that chance is beaten; else an empty text."""
        known = self._winner.against_chance
        if known is None or known.shown:
            return ""
        return f" It is {known.doubt}."

    def _create_version(self, tags: dict[str, str]) -> ModelVersion:
        candidate, parent_id = self._winner.candidate, self._run.run_id
        logged = self._begun(tags) or self._client.create_logged_model(
            self._run.experiment_id,
            name=self._name,
            source_run_id=parent_id,
            tags=tags,
            params={
                key: str(rounded(value, PARAMETER_DIGITS))
                for key, value in candidate.settings.column_values().items()
                if value is not None
            },
            model_type="classifier",
        )
        if logged.status != LoggedModelStatus.READY:
            with tempfile.TemporaryDirectory() as scratch:
                model = self._save(Path(scratch), logged)
                self._client.log_model_artifacts(logged.model_id, str(model))
            self._client.finalize_logged_model(logged.model_id, "READY")
        exact = {SCORE: candidate.val_score or 0.0, **self._winner.test_scores}
        outputs = self._client.get_run(parent_id).outputs.model_outputs
        if logged.model_id not in [output.model_id for output in outputs]:
            scores = without_score_duplicates(exact)
            now = int(time.time() * 1000)
            if not self._client.get_logged_model(logged.model_id).metrics:
                self._client.log_batch(
                    parent_id,
                    metrics=[
                        Metric(k, v, now, 0, model_id=logged.model_id) for k, v in scores.items()
                    ],
                )
            self._client.log_outputs(parent_id, [LoggedModelOutput(logged.model_id, step=0)])
        return self._client.create_model_version(
            self._name,
            # Not the model's id: MLflow would look it up on the process's default server, not on
            # this client's.
            source=logged.artifact_location,
            run_id=parent_id,
            tags=tags,
            description=f"{self._title} of the study `{tags['study']}`: "
            f"{settings_markdown(candidate.settings)} (trial `{tags['trial_id']}`). "
            f"{self._validated}; on test {exact[TEST_SCORE]:.1%}, the mean over "
            f"{len(self._winner.trials)} seeds.{self._doubt}",
            model_id=logged.model_id,
        )

    def _begun(self, tags: Mapping[str, str]) -> LoggedModel | None:
        """Return the model that an earlier attempt has made, whose end was not heard of."""
        own = (f"tags.{key} = '{tags[key]}'" for key in ("study_id", "source_trial", "trial_id"))
        found = self._client.search_logged_models(
            [self._run.experiment_id], filter_string=" AND ".join(own)
        )
        return next(iter(found), None)

    @property
    def _title(self) -> str:
        best = self._winner.candidate.label == BEST
        return (
            "Winner"
            if best
            else "Best configuration with a file of tuned parameters, which the winner has not,"
        )

    def _decide(self, version: ModelVersion, tags: Mapping[str, str]) -> tuple[bool, str]:
        """Move the alias if the version wins; return whether the version has it, and why."""
        aliases = self._client.get_registered_model(self._name).aliases
        champion = (
            self._client.get_model_version(self._name, aliases[CHAMPION])
            if CHAMPION in aliases
            else None
        )
        if champion is not None and str(champion.version) == str(version.version):
            known = self._study.folder.read_registration()
            return True, known.reason if known and known.champion else "it has been given the alias"
        wins, reason = judge(tags, None if champion is None else champion.tags)
        if wins:
            self._client.set_registered_model_alias(self._name, CHAMPION, version.version)
            return True, reason
        return False, f"version {aliases[CHAMPION]} stays, since {reason}"

    def _save(self, scratch: Path, logged: LoggedModel) -> Path:
        """Write the winner as an MLflow model of code, delta and names; no pickle.

        The code is this package, so that the model is served where that is not installed.

        Raises:
            StudyError: the winner has no delta, and none tells its backbone and names.
        """
        model = scratch / "model"
        delta, info = read_delta(self._winner, self._study, scratch)
        with warnings.catch_warnings(record=True):  # see `study.tracking.mlflow.served_model`
            mlflow.pyfunc.save_model(
                model,
                python_model=str(Path(__file__).with_name("served_model.py")),
                artifacts={"delta": str(delta)},
                mlflow_model=Model(
                    artifact_path=logged.artifact_location,
                    model_uuid=logged.model_id,
                    run_id=self._run.run_id,
                    model_id=logged.model_id,
                ),
                # A drawn image, not one of the user's, since a registry is shared.
                input_example=[encode_base64(Image.linear_gradient("L").resize((32, 32)))],
                pip_requirements=requirements(self._study.architecture()),
                code_paths=[str(PACKAGE)],
                model_config={
                    "class_names": list(info.class_names),
                    "templates": list(info.templates),
                    "backbone": info.backbone,
                    "revision": info.revision,
                    "device": "auto",
                    **info.reading.model_facts(),
                },
            )
        if (saved := Model.load(model)).signature is not None:  # MLflow infers only the inputs
            saved.signature.outputs = Schema(
                [
                    ColSpec(DataType.string, "class_name"),
                    ColSpec(DataType.double, "probability"),
                    ColSpec(Map(DataType.double), "probabilities"),
                ]
            )
            saved.save(str(model / MLMODEL_FILE_NAME))
        return model
