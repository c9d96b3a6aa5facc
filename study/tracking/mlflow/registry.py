"""Register a study's best configuration with MLflow: one version a study, and a champion alias.

It is the configuration that validation chose, if it beats chance on test. If it has no delta, the
best one with a delta is registered instead. Which version is champion, see
`study.tracking.mlflow.champion`.
"""

import logging
import re
import shutil
import tempfile
import warnings
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import mlflow.pyfunc
from mlflow.entities import Metric
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models.model import Model
from PIL import Image

from study.backbones.architecture import Architecture
from study.data.images.sources import encode_base64
from study.data.shots import read_shots
from study.errors import DataError
from study.results.best_configuration import BestConfiguration, read_best, read_final
from study.serving.saved_model import read_tested_model, refuse_chance
from study.storage.study_folder import CHAMPION, REGISTERED, Registration
from study.tracking.mlflow import server
from study.tracking.mlflow.champion import BEATS_CHANCE, NOT_SHOWN, SHOWN, decide_champion
from study.tracking.mlflow.run_content import (
    SCORE,
    Tags,
    modified_at,
    round_significant,
    shown_metrics,
)
from study.tracking.mlflow.study_run import StudyRun
from study.trial.prepare import shots_path
from study.trial.study import Study

logger = logging.getLogger(__name__)

PACKAGE = Path(__file__).parents[2]
"""This package, which is copied into each model with all its code: a process that loads a model
before it imports the package takes all of the package from the model."""
LIBRARIES = (
    *("mlflow", "numpy", "pandas", "pillow", "pyarrow", "pydantic", "pyyaml"),
    *("safetensors", "torch", "torchvision", "transformers"),
)
"""The libraries that a served model imports. This package is left out, as no index has it."""
TOKENIZERS = {"siglip": ("protobuf", "sentencepiece"), "open_clip": ("open_clip_torch",)}
"""The libraries that read the vocabularies of a family of backbones, or of OpenCLIP's format."""
NO_CODE = shutil.ignore_patterns("*.md", "*.png", "__pycache__")
"""The files of the package that a model can do without."""


def register_best(run: StudyRun) -> Registration | None:
    """Register a study's best configuration once, and decide which version is champion.

    Args:
        run: the study's own run.

    Returns:
        The registration, which ``registered.json`` holds too; None if nothing is tested or the best
        does not beat chance.

    Raises:
        StudyError: the registry does not accept the best configuration, or not in time.
    """
    best = read_best(run.study)
    registered = read_final(run.study)
    if not best or registered is None or not (best.trials and registered.trials):
        return None
    try:
        refuse_chance(run.study, best, registered)
    except DataError as error:
        logger.warning("no model is registered: %s", error)
        return None
    registration = server.call_mlflow(
        lambda: _register(registered, run),
        "MLflow rejects the model",
    )
    run.study.folder.write_json(REGISTERED, registration)
    return registration


def model_name(dataset: str) -> str:
    """Return a dataset's model name, without slashes and colons, which model addresses use."""
    return f"clipfit-{re.sub(r'[^A-Za-z0-9._-]+', '-', dataset).strip('-')}"


def _register(best: BestConfiguration, run: StudyRun) -> Registration:
    """Find or create the version of a best configuration, and decide which version is champion."""
    client, folder = run.client, run.study.folder
    name, tags = model_name(run.study.config.data.dataset), version_tags(run.study, best)
    dataset = tags["dataset"]
    try:
        client.create_registered_model(
            name,
            tags={"dataset": dataset},
            description=f"CLIP tuned on {dataset}, one version per study. The alias `{CHAMPION}` "
            "marks the best validation score among versions with the same protocol, selection rule "
            "and split.",
        )
    except MlflowException:
        client.get_registered_model(name)  # another study may have just created it
    # A study that was extended may have several versions.
    same = (f"tags.{key} = '{tags[key]}'" for key in ("study_id", "source_trial", "trial_id"))
    versions = client.search_model_versions(" AND ".join([f"name = '{name}'", *same]))
    version = versions[0] if versions else _create_version(name, tags, best, run)
    is_champion, reason = decide_champion(client, folder, version, tags)
    registration = Registration(name, str(version.version), is_champion, reason)
    code = f"\n\n```python\nimport mlflow\n\n{registration.loading_line}\n```"
    client.update_model_version(name, version.version, describe_version(run.study, best) + code)
    return registration


def _create_version(name: str, tags: Tags, best: BestConfiguration, run: StudyRun) -> ModelVersion:
    """Send a best configuration's model and scores to the study's run, and create its version."""
    client, run_id, place = run.client, run.run_id, f"models/{tags['trial_id']}"
    with tempfile.TemporaryDirectory() as scratch:
        model = _write_model(best, run, Path(scratch))
        client.log_artifacts(run_id, str(model), place)
    trial = best.model_trial
    # A point of the same time is the same point, so a second attempt adds none.
    ended = modified_at(trial.path / "end.json", existing=trial.path.parent)
    scores = shown_metrics({SCORE: best.candidate.val_score or 0.0, **best.model_scores})
    metrics = [Metric(key, value, ended, 0) for key, value in scores.items()]
    client.log_batch(run_id, metrics=metrics)
    return client.create_model_version(
        name,
        source=f"{client.get_run(run_id).info.artifact_uri}/{place}",
        run_id=run_id,
        tags=tags,
    )


def _write_model(best: BestConfiguration, run: StudyRun, scratch: Path) -> Path:
    """Write a best configuration as an MLflow model of code, delta and names, without a pickle.

    The code is this package, so that the model can be served where that is not installed.

    Raises:
        DeltaError: its delta is missing or damaged, or has another head.
    """
    saved = read_tested_model(best)
    info = saved.info
    code = scratch / "code" / PACKAGE.name
    shutil.copytree(PACKAGE, code, ignore=NO_CODE)
    # A drawn image, not one of the user's, since a registry is shared.
    example = encode_base64(Image.linear_gradient("L").resize((32, 32)))
    with warnings.catch_warnings(record=True):  # see `study.tracking.mlflow.served_model`
        mlflow.pyfunc.save_model(
            scratch / "model",
            python_model=str(Path(__file__).with_name("served_model.py")),
            artifacts={"delta": str(saved.delta)},
            mlflow_model=Model(run_id=run.run_id),
            input_example=[example],
            pip_requirements=requirements(run.study.architecture),
            code_paths=[str(code)],
            model_config={
                "class_names": list(info.class_names),
                "backbone": info.backbone,
                "revision": info.revision,
                "device": "auto",
            },
        )
    return scratch / "model"


def requirements(backbone: Architecture) -> list[str]:
    """Return the requirements of a served model for pip: libraries with their installed versions.

    A version such as ``2.13.0+cpu`` loses its local part, which package indexes do not have. A
    library of `TOKENIZERS` that is not installed is left out, as it was not needed here either.
    """
    formats = [backbone.family, *(["open_clip"] if backbone.open_clip else [])]
    versions = {name: metadata.version(name) for name in LIBRARIES}
    for name in (name for kind in formats for name in TOKENIZERS.get(kind, ())):
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return [f"{name}=={installed.partition('+')[0]}" for name, installed in versions.items()]


def version_tags(study: Study, best: BestConfiguration) -> Tags:
    """Return the tags of a version: where it is from, and how it was chosen."""
    config, candidate, trained = study.config, best.candidate, best.model_trial
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
        "alpha": repr(candidate.settings.alpha),
        "selection": study.protocol.rule(config, source.read_reports()[-1]).name,
        "split_hash": source.read_config()["split_hash"],
        SCORE: repr(round_significant(candidate.val_score)),
        "trial_id": trained.trial_id,
        "source_trial": source.trial_id,
        "training_data_hash": read_shots(shots_path(study, trained.read_config()["seed"])).digest,
    }
    if best.final:
        tags["final_images"] = config.final.images
    if best.against_chance:
        tags[BEATS_CHANCE] = SHOWN if best.against_chance.is_proven else NOT_SHOWN
    return tags


def describe_version(study: Study, best: BestConfiguration) -> str:
    """Return a version's description: what it is, its scores, and how certain they are."""
    candidate, score = best.candidate, best.model_scores.get("test_score")
    subset = candidate.settings.column_values()["subset"]
    trained = "one training" if best.final else f"the mean over {len(best.trials)} seeds"
    tested = "not tested" if score is None else f"test score {score:.1%} ({trained})"
    text = (
        f"`{subset}` with a {candidate.settings.head} head, from trial "
        f"`{best.model_trial.trial_id}` of study `{study.folder.name}`. Validation score "
        f"{candidate.val_score or 0.0:.1%}; {tested}."
    )
    if best.against_chance and not best.against_chance.is_proven:
        text += f" It is {best.against_chance.caveat}."
    return text
