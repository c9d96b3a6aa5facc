"""Every file under clusters/: Ray takes it, it is of one release, and nothing in it is open."""

import re
import subprocess
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from ray.autoscaler._private.kuberay.autoscaling_config import (
    _derive_autoscaling_config_from_ray_cr as read_by_ray,
)
from ray.autoscaler._private.util import prepare_config, validate_config

from study.config.loading import load_config
from study.storage.result_folder import JsonObject
from tests.clusters.conftest import ROOT

CLUSTERS = ROOT / "clusters"
LAUNCHER_FILES = [CLUSTERS / "gpu.yaml", CLUSTERS / "local.yaml"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RAY = "2.60.0"
PYTHON = "3.11"

launcher_files = pytest.mark.parametrize("path", LAUNCHER_FILES, ids=["gpu", "local"])


def load(path: Path) -> JsonObject:
    return dict(yaml.safe_load(path.read_text()))


def commands(config: JsonObject, text: str = "") -> list[str]:
    """The commands of a file that have a text in them."""
    lists = [value for key, value in config.items() if key.endswith("_commands")]
    return [command for commands in lists for command in commands if text in command]


def without_comments(path: Path) -> str:
    return re.sub(r"(?m)(^|\s)#.*$", "", path.read_text())


@launcher_files
def test_ray_takes_the_file_ignores_no_key_and_its_commands_are_bash_that_exists(path: Path):
    config = load(path)
    validate_config(prepare_config(load(path)))
    assert not {"min_workers", "head_node", "worker_nodes"} & config.keys()
    lists = {"initialization_commands", "setup_commands"}
    for kind in ("head", "worker"):
        lists |= {f"{kind}_setup_commands", f"{kind}_start_ray_commands"}
    assert lists <= config.keys(), "Ray's own would open the dashboard"
    script = (CLUSTERS / "node.sh").read_text()
    for command in commands(config):
        subprocess.run(["bash", "-n", "-c", command], check=True)
        for name in re.findall(r"node\.sh (\w+)", command):
            assert f"\n{name}() {{" in script


@launcher_files
def test_all_machines_have_one_python_one_ray_in_range_and_the_whole_package(path: Path):
    config = load(path)
    install = f"bash ~/clipfit/clusters/node.sh install {PYTHON} {RAY}"
    assert commands(config, "node.sh install") == [install]
    assert install in config["setup_commands"], "head and workers alike"
    assert PYTHON in SpecifierSet(PROJECT["requires-python"])
    ranges = {r.name: r.specifier for r in map(Requirement, PROJECT["dependencies"])}
    assert RAY in ranges["ray"]
    # What hatchling needs to install it, and what a study reads beside it.
    sent = {source for source in config["file_mounts"].values() if not source.startswith("~")}
    assert {"study", "configs", "pyproject.toml", PROJECT["readme"]} <= sent
    assert set(PROJECT["license-files"]) <= sent
    assert [source for source in sent if not (ROOT / source).exists()] == []


@launcher_files
def test_nothing_listens_to_the_world_and_every_machine_has_the_token(path: Path):
    config = load(path)
    assert "0.0.0.0" not in without_comments(path)
    assert "security_group" not in config["provider"], "its rules would add to Ray's"
    assert "docker" not in config
    (start,) = commands(config, "ray start --head")
    assert "--dashboard-host=127.0.0.1" in start
    assert commands(config, "ray-client-server-port") == []
    (environment,) = commands(config, "node.sh environment")
    assert "RAY_AUTH_MODE=token" in environment.split()
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


@launcher_files
def test_a_study_without_arguments_has_a_configuration_a_storage_and_mlflow(path: Path):
    config = load(path)
    (line,) = commands(config, "node.sh environment")
    values = dict(word.split("=", 1) for word in line.split() if "=" in word)
    assert load_config(ROOT / values["STUDY_CONFIG"].removeprefix("$HOME/clipfit/"))
    shared = values["STUDY_STORAGE"].removesuffix("/runs").replace("$HOME", "~")
    assert f"node.sh share {shared}" in " ".join(config["head_setup_commands"])
    assert f"node.sh see {shared}" in " ".join(config["worker_start_ray_commands"])
    assert values["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:5000"
    head = " ".join(config["head_start_ray_commands"])
    assert head.index("node.sh mlflow") < head.index("ray start"), "whenever Ray is started"


def test_the_gpu_cluster_scales_from_none_beside_a_head_that_trains_nothing():
    config = load(CLUSTERS / "gpu.yaml")
    head, gpu = (config["available_node_types"][name] for name in ("head", "gpu"))
    assert config["head_node_type"] == "head"
    assert (head["resources"], gpu["min_workers"]) == ({"CPU": 0}, 0)
    image, other = (machine["node_config"]["ImageId"] for machine in (head, gpu))
    rays_own = find_spec("ray.autoscaler._private.aws.config")
    assert image == other
    assert rays_own is not None
    assert image not in Path(str(rays_own.origin)).read_text(), "PyTorch does not run on these"
    resources = load_config(ROOT / "configs" / "gpu.yaml").resources
    a_machine = min(
        gpu["resources"]["CPU"] // resources.cpus_per_trial,
        gpu["resources"]["GPU"] // resources.gpus_per_trial,
    )
    assert resources.max_concurrent == a_machine * gpu["max_workers"], "its study fills it"


@pytest.mark.parametrize("worker_ips", [[], ["10.0.0.2"], ["10.0.0.2", "10.0.0.3"]])
def test_machines_at_hand_may_be_one_or_many_and_their_user_edits_two_lines(worker_ips: list[str]):
    lines = (CLUSTERS / "local.yaml").read_text().splitlines()
    marked = [lines[n + 1] for n, line in enumerate(lines) if line.startswith("# EDIT:")]
    assert [line.partition(":")[0] for line in marked] == ["provider", "auth"]
    config = load(CLUSTERS / "local.yaml")
    config["provider"]["worker_ips"] = worker_ips
    prepared = prepare_config(config)
    validate_config(prepared)
    assert prepared["max_workers"] == len(worker_ips)


KUBERNETES = [*yaml.safe_load_all((CLUSTERS / "kubernetes.yaml").read_text())]


def of_kubernetes(kind: str) -> list[JsonObject]:
    """The objects of a kind in kubernetes.yaml."""
    return [document for document in KUBERNETES if document["kind"] == kind]


(RAY_JOB,) = of_kubernetes("RayJob")
RAY_CLUSTER: Any = RAY_JOB["spec"]["rayClusterSpec"]
GROUPS = [RAY_CLUSTER["headGroupSpec"], *RAY_CLUSTER["workerGroupSpecs"]]
(MLFLOW,) = (deployment["spec"] for deployment in of_kubernetes("Deployment"))


@pytest.mark.parametrize("version", ["1.30", kubernetes_validate.latest_version()])
def test_kubernetes_knows_every_key_of_its_objects_and_of_the_pods_of_ray(version: str):
    objects = [document for document in KUBERNETES if document["kind"] != "RayJob"]
    for group in GROUPS:
        pods = {"metadata": {"name": "ray"}, "template": group["template"]}
        objects.append({"apiVersion": "v1", "kind": "PodTemplate", **pods})
    for document in objects:
        kubernetes_validate.validate(document, version, strict=True)
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(document | {"sepc": {}}, version, strict=True)


def test_kubernetes_has_one_image_of_the_same_ray_and_python_and_a_study_that_there_is():
    pods = [group["template"]["spec"] for group in (*GROUPS, MLFLOW)]
    images = {container["image"] for pod in pods for container in pod["containers"]}
    assert images == {f"clipfit:{PROJECT['version']}"}
    assert RAY_CLUSTER["rayVersion"] == RAY
    base = f"FROM rayproject/ray:{RAY}-py{PYTHON.replace('.', '')}-gpu"
    assert base in (CLUSTERS / "Dockerfile").read_text().splitlines()
    _, program, name, *overrides = RAY_JOB["spec"]["entrypoint"].split()
    assert (ROOT / program.removeprefix("/home/ray/clipfit/")).is_file()
    assert load_config(ROOT / "configs" / f"{name}.yaml", overrides)


def test_rays_autoscaler_reads_of_kubernetes_what_the_gpu_study_fills():
    names = {"name": RAY_JOB["metadata"]["name"], "namespace": "default"}
    cluster = read_by_ray({"metadata": names, "spec": RAY_CLUSTER})
    assert cluster["idle_timeout_minutes"] == 10
    head, gpu = (cluster["available_node_types"][name] for name in ("headgroup", "gpu"))
    assert (head["resources"]["CPU"], gpu["min_workers"]) == (0, 0)
    resources = load_config(ROOT / "configs" / "gpu.yaml").resources
    assert gpu["resources"]["CPU"] >= resources.cpus_per_trial / resources.gpus_per_trial
    on_a_gpu = gpu["resources"]["GPU"] / resources.gpus_per_trial
    assert resources.max_concurrent == on_a_gpu * gpu["max_workers"]


def test_kubernetes_authenticates_and_opens_nothing():
    assert RAY_CLUSTER["authOptions"] == {"mode": "token"}
    assert {service["spec"]["type"] for service in of_kubernetes("Service")} == {"ClusterIP"}
    assert not {"Ingress", "Gateway", "HTTPRoute"} & {one["kind"] for one in KUBERNETES}
    opening = "hostPort|hostNetwork|NodePort|LoadBalancer|privileged"
    assert not re.search(opening, without_comments(CLUSTERS / "kubernetes.yaml"))
    (policy,) = (document["spec"] for document in of_kubernetes("NetworkPolicy"))
    mlflow = MLFLOW["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"] == mlflow
    allowed = policy["ingress"][0]["from"][0]["podSelector"]["matchLabels"]
    for group in GROUPS:
        assert group["template"]["metadata"]["labels"] == allowed
