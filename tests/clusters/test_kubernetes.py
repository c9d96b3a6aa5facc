"""Every object of kubernetes.yaml is one that Kubernetes and KubeRay would take, key by key.

`KUBERAY_SCHEMA` names KubeRay's own definition of a RayJob, `ray.io_rayjobs.yaml` of its releases,
which is no part of this project.
"""

import os
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from study.storage.result_folder import JsonObject

DOCUMENTS = list(
    yaml.safe_load_all((Path(__file__).parents[2] / "clusters" / "kubernetes.yaml").read_text())
)
OLDEST = "1.30"
"""The oldest Kubernetes that is looked at; every part of the file is older."""
SCHEMA = os.environ.get("KUBERAY_SCHEMA")


def strict(schema: Any) -> Any:
    """Return a schema that refuses keys it does not name, which an API server drops in silence."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    if made.pop("x-kubernetes-int-or-string", False):
        made["type"] = ["integer", "string"]
        made.pop("anyOf", None)
    if (
        isinstance(made.get("properties"), dict)
        and not isinstance(made.get("additionalProperties"), dict)
        and not schema.get("x-kubernetes-preserve-unknown-fields")
    ):
        made["additionalProperties"] = False
    return made


def rayjob_schema() -> Any:
    definition = yaml.safe_load(Path(str(SCHEMA)).read_text())
    assert definition["spec"]["names"]["kind"] == "RayJob"
    (served,) = (
        version["schema"]["openAPIV3Schema"]
        for version in definition["spec"]["versions"]
        if f"{definition['spec']['group']}/{version['name']}" == rayjob()["apiVersion"]
    )
    schema = strict(served)
    schema["properties"]["metadata"] = {"type": "object"}  # Kubernetes' own
    return schema


def rayjob() -> JsonObject:
    (found,) = (document for document in DOCUMENTS if document["kind"] == "RayJob")
    return dict(found)


@pytest.mark.skipif(not SCHEMA, reason="KUBERAY_SCHEMA names no definition of a RayJob")
def test_kuberay_knows_every_key_of_the_job():
    jsonschema.validate(rayjob(), rayjob_schema(), jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    "document",
    [d for d in DOCUMENTS if d["kind"] != "RayJob"],
    ids=lambda d: f"{d['kind']}-{d['metadata']['name']}",
)
def test_kubernetes_knows_every_key_of_the_other_objects(document: JsonObject):
    latest = kubernetes_validate.latest_version()
    for version in (OLDEST, latest):
        kubernetes_validate.validate(document, version, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document | {"sepc": {}}, latest, strict=True)
