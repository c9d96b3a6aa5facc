"""Read registered models back as deltas; `study.tracking.mlflow.registry` registers them.

Only the delta of a model is downloaded. The code that is stored with it, which
`mlflow.pyfunc.load_model` would run, is not.
"""

import re
from dataclasses import replace
from pathlib import Path

import mlflow.artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from study.data.records import listed
from study.errors import DeltaError, TrackingError, redacted_text
from study.serving.saved_model import DELTA, Origin, SavedModel, read_saved_model
from study.tracking.mlflow import server
from study.tracking.mlflow.address import is_absent_store, tracking_uri

ADDRESS_FORMS = "models:/NAME/VERSION or models:/NAME@ALIAS"
_ADDRESS = re.compile(r"models:/(?P<name>[^/:@]+)(/(?P<version>[0-9]{1,9})|@(?P<alias>[^/:@]+))")


def download_model(address: str, folder: Path) -> SavedModel:
    """Download the delta of a registered model from ``$MLFLOW_TRACKING_URI``; return the model.

    Args:
        address: the address of the model, in one of `ADDRESS_FORMS`.
        folder: an empty folder.

    Raises:
        DeltaError: there is no such model, or no study has registered it.
        TrackingError: there is no store, or the server does not answer.
    """
    parsed = _ADDRESS.fullmatch(address)
    if not parsed:
        raise DeltaError(
            f"{address} is not the address of a registered model; expected {ADDRESS_FORMS}"
        )
    uri = tracking_uri(None)
    if is_absent_store(uri):
        raise TrackingError(
            f"{address} is not found, because {uri} does not exist; set MLFLOW_TRACKING_URI to "
            "the server or store that contains it"
        )
    fault = f"{redacted_text(uri)} cannot provide {address}"
    version = server.call_mlflow(
        lambda: _download(uri, parsed, folder, fault),
        fault,
        "; check MLFLOW_TRACKING_URI",
    )
    return _read_model(version, folder)


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
    mlflow.artifacts.download_artifacts(
        f"{source}/artifacts/{DELTA}", dst_path=str(folder), tracking_uri=uri
    )
    return version


def _read_model(version: ModelVersion, folder: Path) -> SavedModel:
    """Return the downloaded model; DeltaError if it is damaged."""
    saved = read_saved_model(folder / DELTA)
    tags = version.tags
    name, origin = f"models:/{version.name}/{version.version}", None
    if {"study", "study_id", "trial_id"} <= tags.keys():
        name += f", of study '{tags['study']}' (trial {tags['trial_id']})"
        origin = Origin(tags["study_id"], tags["trial_id"])
    settings = saved.settings.model_copy(update={"alpha": float(tags.get("alpha", 1.0))})
    return replace(saved, origin=origin, name=name, settings=settings)
