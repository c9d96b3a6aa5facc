"""Read registered models back as deltas; `study.tracking.mlflow.registry` registers them.

Only the delta and the description of a model are downloaded. The code that is stored with it, which
`mlflow.pyfunc.load_model` would run, is not.
"""

import re
from dataclasses import replace
from pathlib import Path

import mlflow.artifacts
from mlflow import pyfunc
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models.model import MLMODEL_FILE_NAME, Model

from study.data.images.image_reading import DEFAULT_READING, MODEL_FACTS
from study.data.records import listed
from study.errors import DeltaError
from study.method.delta import read_info
from study.serving.saved_model import Origin, SavedModel, read_saved_model
from study.tracking.mlflow import server

ADDRESS_FORMS = "models:/NAME/VERSION and models:/NAME@ALIAS"
DELTA = "artifacts/delta.safetensors"
"""The path of the delta in a registered model."""
_ADDRESS = re.compile(r"models:/(?P<name>[^/:@]+)(/(?P<version>[0-9]{1,9})|@(?P<alias>[^/:@]+))")


def download_registered_model(uri: str, address: str, folder: Path) -> SavedModel:
    """Download the delta of a registered model into a folder, and return the model.

    Args:
        uri: the address of the tracking server or store.
        address: the address of the model, in one of `ADDRESS_FORMS`.
        folder: an empty folder.

    Raises:
        DeltaError: there is no such model, or no study has registered it.
        TrackingError: the server does not answer.
    """
    parsed = _ADDRESS.fullmatch(address)
    if not parsed:
        raise DeltaError(
            f"{address} is no address of a registered model; allowed are {ADDRESS_FORMS}"
        )
    fault = f"{server.redact_uri(uri)} does not give {address}"
    version = server.call_mlflow(
        server.SEVERAL_WITHIN,
        lambda: _download(uri, parsed, folder, fault),
        fault,
        "; see MLFLOW_TRACKING_URI",
    )
    return _read_model(address, version, folder)


def _download(uri: str, address: re.Match[str], folder: Path, fault: str) -> ModelVersion:
    """Download the files of a model, and return its version; DeltaError if there is none."""
    client = server.open_client(uri)
    name, alias = address["name"], address["alias"]
    try:
        if alias:
            version = client.get_model_version_by_alias(name, alias)
        else:
            version = client.get_model_version(name, address["version"])
    except MlflowException as error:
        if error.error_code not in (server.ABSENT, server.INVALID):
            raise
        names = listed([model.name for model in client.search_registered_models()]) or "none"
        raise DeltaError(f"{fault}: {error.message}; registered models: {names}") from None
    # Not `mlflow.pyfunc.load_model`, which would run code, and ask the server of the process.
    source = client.get_model_version_download_uri(version.name, version.version)
    for path in (MLMODEL_FILE_NAME, DELTA):
        target = str((folder / path).parent)
        mlflow.artifacts.download_artifacts(f"{source}/{path}", dst_path=target, tracking_uri=uri)
    return version


def _read_model(address: str, version: ModelVersion, folder: Path) -> SavedModel:
    """Return the downloaded model; DeltaError if no study registered it, or it is damaged."""
    saved = read_saved_model(folder / DELTA)
    try:
        description = Model.load(str(folder / MLMODEL_FILE_NAME))
        config = description.flavors[pyfunc.FLAVOR_NAME][pyfunc.MODEL_CONFIG]
        needed = ("class_names", "templates", "backbone", "revision")
        changes = {name: config[name] for name in (*needed, *DEFAULT_READING.model_facts())}
        changes |= {name: config[name] for name in MODEL_FACTS if name in config}
        info = read_info(saved.info.to_json_values() | changes)
    except Exception as error:  # a file that is no MLmodel leads to many types
        message = f"{address} is no model that a study has registered ({error!r})"
        raise DeltaError(message) from error
    tags = version.tags
    name, origin = f"models:/{version.name}/{version.version}", None
    if {"study", "study_id", "trial_id"} <= tags.keys():
        name += f", of study '{tags['study']}' (trial {tags['trial_id']})"
        origin = Origin(tags["study_id"], tags["trial_id"])
    settings = saved.settings.model_copy(update={"strength": float(tags.get("strength", 1.0))})
    return replace(saved, origin=origin, name=name, info=info, settings=settings)
