"""clusters/gpu.yaml under Ray's own autoscaler, which starts raylets in place of AWS's machines."""

import json
import math
import os
import secrets
import shlex
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config

from study.storage.result_folder import JsonObject
from study.storage.study_folder import StudyFolder
from tests.clusters.conftest import ROOT, SMALL, skip_without_namespaces

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

PROGRAM = Path(__file__).with_name("watched_study.py")
HEAD = "f" * 51 + "00000"
"""The id that Ray's provider of raylets expects of a head."""
TRIALS, AT_ONCE, A_GPU = 12, 4, 2


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Ray's sockets lie in it, whose paths are limited."""
    with tempfile.TemporaryDirectory(prefix="autoscaled-") as folder:
        yield Path(folder)


def cluster_config() -> JsonObject:
    """The cluster file, with nothing changed but who provides machines and what their head is."""
    text = (ROOT / "clusters" / "gpu.yaml").read_text()
    config = prepare_config(yaml.safe_load(text))
    provider = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
    config["provider"] = {
        "type": "external",
        "module": provider,
        "head_node_id": HEAD,
        "launch_multiple": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
    }
    types = config["available_node_types"]
    types["ray.head.default"] = types.pop(config["head_node_type"])
    config["head_node_type"] = "ray.head.default"
    for machine in types.values():
        machine["node_config"] = {}
        machine["resources"]["object_store_memory"] = 150_000_000
    return config | {"file_mounts": {}, "auth": {}}


def test_a_study_brings_the_machines_it_waits_for_and_trials_share_their_gpus(
    tiny_backbone: Path, tmp_path: Path, short_folder: Path
):
    skip_without_namespaces()
    # Where `ray up` leaves it, which is why a study joins the cluster unasked.
    bootstrap = short_folder / "ray_bootstrap_config.yaml"
    bootstrap.write_text(yaml.safe_dump(cluster_config()))
    settings = [*SMALL, "name=scaled", f"backbone.name={tiny_backbone}", "training.epochs=5"]
    settings += [f"search.trials={TRIALS}", f"resources.max_concurrent={AT_ONCE}"]
    settings += [f"resources.gpus_per_trial={1 / A_GPU}"]
    notes = tmp_path / "notes.jsonl"
    (tmp_path / "wait_for").write_text(str(AT_ONCE))
    study = [sys.executable, str(PROGRAM), str(notes), *settings]
    start = ["ray", "start", "--head", "--num-cpus=0", "--num-gpus=0", "--port=6379"]
    start += ["--include-dashboard=false", f"--autoscaling-config={bootstrap}"]
    script = f"ip link set lo up && {shlex.join(start)} && {shlex.join(study)}"
    own = ["unshare", "-m", "-n", "-p", "-f", "--mount-proc", "--kill-child=SIGKILL"]
    done = subprocess.run(
        [*own, "bash", "-c", script],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin",
            "HOME": str(short_folder),
            "RAY_TMPDIR": str(short_folder),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_FAKE_CLUSTER": "1",
            "RAY_enable_autoscaler_v2": "1",
            "RAY_CLOUD_INSTANCE_ID": HEAD,
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD,
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert "waiting for a machine" not in done.stdout, "what is to come is known"
    folder = StudyFolder(tmp_path / "runs" / "scaled")
    ends = [trial.read_end() for trial, _ in folder.trials_of("search")]
    assert len(ends) >= TRIALS, "fixed methods are beside these"
    assert {end and end.status for end in ends} == {"finished"}

    noted = [json.loads(line) for line in notes.read_text().splitlines()]
    processes = defaultdict(set)
    for note in noted:
        if note["what"] == "epoch" and note["trial"].startswith("search"):
            processes[note["node"]].add(note["process"])
    assert HEAD not in processes
    assert len(processes) == math.ceil(AT_ONCE / A_GPU)
    assert {len(ids) for ids in processes.values()} == {A_GPU}, "trials that share a GPU"
