"""Models of the registry as deltas: what `study.tracking.mlflow.registry` puts there, read back.

Only the delta and the description of the model are fetched. The code that is stored with the model,
which `mlflow.pyfunc.load_model` would run, is not.
"""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import mlflow.artifacts
from mlflow import MlflowClient, pyfunc
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.models.model import MLMODEL_FILE_NAME, Model

from study.data.images.image_reading import DEFAULT_READING, MODEL_FACTS
from study.data.records import listed
from study.errors import DeltaError
from study.method.delta import DeltaInfo, read_info
from study.serving.saved_model import Origin, SavedModel, read_saved_model
from study.tracking.mlflow.server import (
    ANSWERS_WITHIN,
    SEVERAL_WITHIN,
    ask,
    open_client,
    redacted,
)

FORMS = "models:/NAME/VERSION and models:/NAME@ALIAS"
DELTA = "artifacts/delta.safetensors"
"""Where a registered model has its delta."""
_ADDRESS = re.compile(r"models:/(?P<name>[^/:@]+)(/(?P<version>[0-9]{1,9})|@(?P<alias>[^/:@]+))")
_ABSENT = "RESOURCE_DOES_NOT_EXIST"


def registered_model(uri: str, address: str, folder: Path) -> SavedModel:
    """Return a version of a registered model, after copying its delta into a folder.

    Args:
        uri: the address of the tracking server or store.
        address: the address of the model, in one of `FORMS`.
        folder: where to copy it; empty.

    Raises:
        DeltaError: there is no such model, or it is none that a study has registered.
        TrackingError: the server does not answer.
    """
    if (named := _ADDRESS.fullmatch(address)) is None:
        raise DeltaError(f"{address} is no address of a registered model; allowed are {FORMS}")
    fault = f"{redacted(uri)} does not give {address}"
    client = ask(ANSWERS_WITHIN, lambda: open_client(uri), fault, "; see MLFLOW_TRACKING_URI")
    model, names = ask(ANSWERS_WITHIN, lambda: _model(client, named["name"]), fault)
    if model is None:
        raise DeltaError(
            f"{fault}: it has no model '{named['name']}'; there are {listed(names) or 'none'}"
        )
    aliases = {alias: str(version) for alias, version in model.aliases.items()}
    number = named["version"] or aliases.get(named["alias"], "")
    version = ask(ANSWERS_WITHIN, lambda: _version(client, model.name, number), fault)
    if version is None:
        raise DeltaError(
            f"{fault}: '{model.name}' has no such version; the latest is "
            f"{max((int(one.version) for one in model.latest_versions), default='none')}, and "
            f"aliases are {listed(aliases) or 'none'}"
        )
    # Not `mlflow.pyfunc.load_model`, which would run code, and would look for the model on the
    # server of the process, not on this one.
    source = ask(
        ANSWERS_WITHIN,
        lambda: client.get_model_version_download_uri(model.name, version.version),
        fault,
    )
    for path in (MLMODEL_FILE_NAME, DELTA):
        ask(SEVERAL_WITHIN, partial(_download, uri, source, path, folder), fault)
    return _saved(address, version, folder)


def _model(client: MlflowClient, name: str) -> tuple[RegisteredModel | None, list[str]]:
    """Return a registered model or, if there is none, the names of those that there are."""
    try:
        return client.get_registered_model(name), []
    except MlflowException as error:
        if error.error_code != _ABSENT:
            raise
        return None, [model.name for model in client.search_registered_models()]


def _version(client: MlflowClient, name: str, number: str) -> ModelVersion | None:
    try:
        return client.get_model_version(name, number) if number else None
    except MlflowException as error:
        if error.error_code != _ABSENT:
            raise
        return None


def _download(uri: str, source: str, path: str, folder: Path) -> None:
    target = (folder / path).parent
    mlflow.artifacts.download_artifacts(
        artifact_uri=f"{source}/{path}", dst_path=str(target), tracking_uri=uri
    )


def _saved(address: str, version: ModelVersion, folder: Path) -> SavedModel:
    """Return the downloaded model.

    Raises:
        DeltaError: it is none that a study has registered, or is damaged.
    """
    saved = read_saved_model(folder / DELTA)
    try:
        described = Model.load(str(folder / MLMODEL_FILE_NAME))
        info = _used_with(saved.info, described.flavors[pyfunc.FLAVOR_NAME][pyfunc.MODEL_CONFIG])
    except Exception as error:  # a file that is no MLmodel leads to many types
        raise DeltaError(
            f"{address} is no model that a study has registered ({error!r})"
        ) from error
    tags = version.tags
    strength = float(tags.get("strength", 1.0))
    origin = f", of study '{tags['study']}'" if "study" in tags else ""
    trained = f" (trial {tags['trial_id']})" if "trial_id" in tags else ""
    known = {"study", "study_id", "trial_id"} <= tags.keys()
    return replace(
        saved,
        origin=Origin(tags["study"], tags["study_id"], tags["trial_id"]) if known else None,
        name=f"models:/{version.name}/{version.version}{origin}{trained}",
        info=info,
        settings=saved.settings.model_copy(update={"strength": strength}),
    )


def _used_with(info: DeltaInfo, config: dict[str, Any]) -> DeltaInfo:
    """Return what the delta's own facts become by the configuration of a registered model.

    Raises:
        KeyError: something is missing.
        ValueError: something is of another type.
    """
    names = ("class_names", "templates", "backbone", "revision", *DEFAULT_READING.model_facts())
    changes = {name: config[name] for name in names}
    changes |= {name: config[name] for name in MODEL_FACTS if name in config}
    return read_info(info.to_json_values() | changes)
