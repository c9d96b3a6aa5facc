"""Every file under clusters/: Ray takes it, it is of one release, and nothing in it is open."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from importlib.util import find_spec
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from ray.autoscaler._private.kuberay.autoscaling_config import (
    _derive_autoscaling_config_from_ray_cr as read_by_ray,
)
from ray.autoscaler._private.util import prepare_config, validate_config

from study.config.loading import load_config

ROOT = Path(__file__).parents[2]
CLUSTERS = ROOT / "clusters"
LAUNCHER_FILES = [CLUSTERS / "gpu.yaml", CLUSTERS / "local.yaml"]
KUBERNETES = CLUSTERS / "kubernetes.yaml"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RAY = "2.60.0"
PYTHON = "3.11"

launcher_files = pytest.mark.parametrize("path", LAUNCHER_FILES, ids=lambda path: path.stem)


def load(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def documents() -> dict[str, list[dict[str, Any]]]:
    """The objects of kubernetes.yaml by kind."""
    found: dict[str, list[dict[str, Any]]] = {}
    for document in yaml.safe_load_all(KUBERNETES.read_text(encoding="utf-8")):
        found.setdefault(document["kind"], []).append(document)
    return found


def commands(config: dict[str, Any]) -> list[str]:
    return [c for key, value in config.items() if key.endswith("_commands") for c in value]


def without_comments(path: Path) -> str:
    return re.sub(r"(?m)(^|\s)#.*$", "", path.read_text(encoding="utf-8"))


@launcher_files
def test_ray_takes_the_file(path: Path) -> None:
    validate_config(prepare_config(load(path)))


@launcher_files
def test_no_key_is_one_that_ray_ignores_in_silence(path: Path) -> None:
    assert not {"min_workers", "head_node", "worker_nodes"} & load(path).keys()


@launcher_files
def test_every_list_of_commands_is_given_since_rays_own_would_open_the_dashboard(
    path: Path,
) -> None:
    config = load(path)
    names = ["initialization_commands", "setup_commands"]
    for kind in ("head", "worker"):
        names += [f"{kind}_setup_commands", f"{kind}_start_ray_commands"]
    assert not [name for name in names if name not in config]


@launcher_files
def test_all_machines_have_one_python_and_one_ray_inside_the_packages_ranges(path: Path) -> None:
    config = load(path)
    installs = [c for c in commands(config) if "node.sh install" in c]
    assert installs == [f"bash ~/clipfit/clusters/node.sh install {PYTHON} {RAY}"]
    assert installs[0] in config["setup_commands"], "head and workers alike"
    assert PYTHON in SpecifierSet(PROJECT["requires-python"])
    ranges = {r.name: r.specifier for r in map(Requirement, PROJECT["dependencies"])}
    assert RAY in ranges["ray"]


@pytest.mark.parametrize("path", sorted(CLUSTERS.iterdir()), ids=lambda path: path.name)
def test_no_other_release_of_ray_is_named(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    named = re.findall(r"ray(?:\[[a-z,]+\])?(?:==|:|Version: \")(\d[\d.]+)", text)
    assert set(named) <= {RAY}
    assert not re.search("nightly|latest", without_comments(path))


@launcher_files
def test_nothing_listens_to_the_world(path: Path) -> None:
    config = load(path)
    assert "0.0.0.0" not in without_comments(path)
    assert "security_group" not in config["provider"], "its rules would add to Ray's"
    assert "docker" not in config
    starts = [c for c in commands(config) if "ray start --head" in c]
    assert len(starts) == 1
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert not [c for c in commands(config) if "ray-client-server-port" in c]


@launcher_files
def test_authentication_is_on_and_every_machine_has_the_token(path: Path) -> None:
    config = load(path)
    environments = [c for c in config["setup_commands"] if "node.sh environment" in c]
    assert len(environments) == 1
    assert "RAY_AUTH_MODE=token" in environments[0].split()
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


@launcher_files
def test_what_is_sent_to_machines_exists(path: Path) -> None:
    for target, source in load(path)["file_mounts"].items():
        if not source.startswith("~"):
            assert (ROOT / source).exists(), f"{target}: {source} is missing"


@launcher_files
def test_the_package_is_sent_whole(path: Path) -> None:
    """What hatchling needs to install it, and what a study reads beside it."""
    sent = set(load(path)["file_mounts"].values())
    assert {"study", "configs", "pyproject.toml", PROJECT["readme"]} <= sent
    assert set(PROJECT["license-files"]) <= sent


@launcher_files
def test_a_study_without_arguments_has_a_configuration_and_a_storage(path: Path) -> None:
    (line,) = (c for c in load(path)["setup_commands"] if "node.sh environment" in c)
    values = dict(word.split("=", 1) for word in line.split() if "=" in word)
    config = ROOT / values["STUDY_CONFIG"].removeprefix("$HOME/clipfit/")
    assert load_config(config)
    shared = values["STUDY_STORAGE"].removesuffix("/runs").replace("$HOME", "~")
    assert f"node.sh share {shared}" in " ".join(load(path)["head_setup_commands"])
    assert f"node.sh see {shared}" in " ".join(load(path)["worker_start_ray_commands"])
    assert values["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:5000"


@launcher_files
def test_mlflow_is_started_before_ray_and_whenever_ray_is(path: Path) -> None:
    head = load(path)["head_start_ray_commands"]
    mlflow = [n for n, c in enumerate(head) if "node.sh mlflow" in c]
    start = [n for n, c in enumerate(head) if "ray start" in c]
    assert mlflow < start


def test_the_gpu_cluster_scales_on_spot_machines_beside_a_head_on_demand() -> None:
    config = load(CLUSTERS / "gpu.yaml")
    head, gpu = (config["available_node_types"][name] for name in ("head", "gpu"))
    assert config["head_node_type"] == "head"
    assert "InstanceMarketOptions" not in head["node_config"]
    assert gpu["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert gpu["min_workers"] == 0
    assert head["resources"] == {"CPU": 0}
    images = {machine["node_config"]["ImageId"] for machine in (head, gpu)}
    rays_own = find_spec("ray.autoscaler._private.aws.config")
    assert rays_own is not None
    assert rays_own.origin is not None
    assert len(images) == 1
    assert images.pop() not in Path(rays_own.origin).read_text(), "PyTorch does not run on these"


def test_the_gpu_study_fills_the_gpu_cluster() -> None:
    config = load(CLUSTERS / "gpu.yaml")
    gpu = config["available_node_types"]["gpu"]
    resources = load_config(ROOT / "configs" / "gpu.yaml").resources
    a_machine = min(
        gpu["resources"]["CPU"] // resources.cpus_per_trial,
        gpu["resources"]["GPU"] // resources.gpus_per_trial,
    )
    assert resources.max_concurrent == a_machine * gpu["max_workers"]


def test_a_user_of_machines_at_hand_edits_two_lines() -> None:
    lines = (CLUSTERS / "local.yaml").read_text().splitlines()
    marked = [lines[n + 1] for n, line in enumerate(lines) if line.startswith("# EDIT:")]
    assert [line.partition(":")[0] for line in marked] == ["provider", "auth"]


@pytest.mark.parametrize("worker_ips", [[], ["10.0.0.2"], ["10.0.0.2", "10.0.0.3"]])
def test_machines_at_hand_may_be_one_or_many(worker_ips: list[str]) -> None:
    config = load(CLUSTERS / "local.yaml")
    config["provider"]["worker_ips"] = worker_ips
    prepared = prepare_config(config)
    validate_config(prepared)
    assert prepared["max_workers"] == len(worker_ips)


def test_kubernetes_has_one_image_of_the_same_ray_and_python() -> None:
    (job,) = documents()["RayJob"]
    cluster = job["spec"]["rayClusterSpec"]
    (mlflow,) = documents()["Deployment"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"], mlflow["spec"]]
    images = {c["image"] for g in groups for c in g["template"]["spec"]["containers"]}
    assert images == {f"clipfit:{PROJECT['version']}"}
    assert cluster["rayVersion"] == RAY
    base = re.search(r"(?m)^FROM (\S+)$", (CLUSTERS / "Dockerfile").read_text())
    assert base is not None
    assert base[1] == f"rayproject/ray:{RAY}-py{PYTHON.replace('.', '')}-gpu"


def test_rays_autoscaler_reads_of_kubernetes_what_the_gpu_study_fills() -> None:
    (job,) = documents()["RayJob"]
    names = {"name": job["metadata"]["name"], "namespace": "default"}
    cluster = read_by_ray({"metadata": names, "spec": job["spec"]["rayClusterSpec"]})
    assert cluster["idle_timeout_minutes"] == 10
    head, gpu = (cluster["available_node_types"][name] for name in ("headgroup", "gpu"))
    assert head["resources"]["CPU"] == 0
    assert gpu["min_workers"] == 0
    resources = load_config(ROOT / "configs" / "gpu.yaml").resources
    assert gpu["resources"]["CPU"] >= resources.cpus_per_trial / resources.gpus_per_trial
    on_a_gpu = gpu["resources"]["GPU"] / resources.gpus_per_trial
    assert resources.max_concurrent == on_a_gpu * gpu["max_workers"]


def test_kubernetes_authenticates_and_opens_nothing() -> None:
    kinds = documents()
    (job,) = kinds["RayJob"]
    assert job["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    assert {service["spec"]["type"] for service in kinds["Service"]} == {"ClusterIP"}
    assert not {"Ingress", "Gateway", "HTTPRoute"} & kinds.keys()
    text = without_comments(KUBERNETES)
    assert not re.search(r"hostPort|hostNetwork|NodePort|LoadBalancer|privileged", text)
    (policy,) = kinds["NetworkPolicy"]
    (mlflow,) = kinds["Deployment"]
    labels = mlflow["spec"]["template"]["metadata"]["labels"]
    assert policy["spec"]["podSelector"]["matchLabels"] == labels
    cluster = job["spec"]["rayClusterSpec"]
    allowed = policy["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert group["template"]["metadata"]["labels"] == allowed


def test_kubernetes_shares_studies_and_keeps_sqlite_to_one_pod() -> None:
    kinds = documents()
    modes = {
        claim["metadata"]["name"]: claim["spec"]["accessModes"]
        for claim in kinds["PersistentVolumeClaim"]
    }
    assert modes == {"clipfit-shared": ["ReadWriteMany"], "mlflow-database": ["ReadWriteOnce"]}
    (mlflow,) = kinds["Deployment"]
    pod = mlflow["spec"]["template"]["spec"]
    mounts = {m["name"]: m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
    (store,) = (a for a in pod["containers"][0]["args"] if a.startswith("--backend-store-uri"))
    assert store == f"--backend-store-uri=sqlite:///{mounts['database']}/mlflow.db"
    assert mlflow["spec"]["strategy"] == {"type": "Recreate"}
    assert mlflow["spec"]["replicas"] == 1


def test_kubernetes_names_a_configuration_that_there_is() -> None:
    (job,) = documents()["RayJob"]
    words = job["spec"]["entrypoint"].split()
    assert (ROOT / words[1].removeprefix("/home/ray/clipfit/")).is_file()
    assert load_config(ROOT / "configs" / f"{words[2]}.yaml", words[3:])


@launcher_files
def test_commands_are_bash_and_what_they_call_exists(path: Path) -> None:
    script = (CLUSTERS / "node.sh").read_text()
    for command in commands(load(path)):
        subprocess.run(["bash", "-n", "-c", command], check=True)
        if called := re.search(r"node\.sh (\w+)", command):
            assert f"\n{called[1]}() {{" in script


def node(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script of the machines; programs in ``bin`` of its home come before others."""
    path = f"{home / 'bin'}:{Path(sys.executable).parent}:/usr/bin:/bin"
    command = ["bash", str(CLUSTERS / "node.sh"), *arguments]
    return subprocess.run(
        command,
        env={"HOME": str(home), "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def write_programs(folder: Path, **scripts: str) -> None:
    folder.mkdir(parents=True)
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)


def test_the_environment_is_read_by_shells_once_however_often_it_is_written(
    tmp_path: Path,
) -> None:
    (tmp_path / ".clipfit").mkdir()
    (tmp_path / ".bashrc").write_text("# what was there\n")
    for value in ("first", "a second $one"):
        assert node(tmp_path, "environment", f"STUDY_CONFIG={value}").returncode == 0
    assert len((tmp_path / ".bashrc").read_text().splitlines()) == 2
    shown = subprocess.run(
        ["bash", "-c", '. ~/.bashrc; echo "$STUDY_CONFIG|$PATH"'],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert shown == f"a second $one|{tmp_path}/.clipfit/bin:/usr/bin:/bin"


def test_a_worker_that_does_not_see_the_heads_folder_says_so(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    blind = node(tmp_path, "see", str(shared))
    assert blind.returncode == 1
    assert str(shared) in blind.stderr
    assert node(tmp_path, "share", str(shared)).returncode == 0
    assert node(tmp_path, "see", str(shared)).returncode == 0


def test_the_heads_folder_is_for_machines_of_any_subnet_of_the_cluster_and_no_others(
    tmp_path: Path,
) -> None:
    """An availability zone is a subnet of its own."""
    sudo = '[ "$1" = tee ] && exec cat > "$HOME/exports" || exec "$@"'
    write_programs(tmp_path / "bin", exportfs="", sudo=sudo)
    exported = node(tmp_path, "export_nfs", "/srv/clipfit")
    assert exported.returncode == 0, exported.stderr
    folder, *clients = (tmp_path / "exports").read_text().split()
    assert folder == "/srv/clipfit"
    networks = [ip_network(client.partition("(")[0]) for client in clients]
    assert all(network.is_private for network in networks)
    for machine in ("172.31.5.4", "172.31.20.4", "172.31.40.4", "10.0.3.7"):
        assert any(ip_address(machine) in network for network in networks)


def test_a_machine_that_is_updating_itself_is_waited_for(tmp_path: Path) -> None:
    sudo = 'echo "$@" >> "$HOME/asked"; [ "$(wc -l < "$HOME/asked")" -gt 2 ]'
    write_programs(tmp_path / "bin", sudo=sudo, sleep="")
    assert node(tmp_path, "apt_install", "nfs-common").returncode == 0
    *_, last = (tmp_path / "asked").read_text().splitlines()
    assert last == "DEBIAN_FRONTEND=noninteractive apt-get install -qq -y nfs-common"


def test_an_environment_of_another_release_is_refused(tmp_path: Path) -> None:
    write_programs(tmp_path / ".clipfit" / "bin", python=f'exec {sys.executable} "$@"', pip="")
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert node(tmp_path, "install", own, version("ray")).returncode == 0
    refused = node(tmp_path, "install", own, "2.58.9")
    assert refused.returncode == 1
    assert "2.58.9" in refused.stderr
