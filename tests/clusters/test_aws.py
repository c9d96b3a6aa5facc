"""clusters/gpu.yaml by Ray's own AWS provider, against moto, which keeps an account in memory.

Never `ray up` itself: it would reach for the public addresses of the machines.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from study.storage.result_folder import JsonObject

# Read when moto is imported: Ray attaches policies that AWS itself keeps.
os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")

from moto import mock_aws
from ray.autoscaler._private.aws import config as ray_aws
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.util import hash_launch_conf, prepare_config
from ray.autoscaler.tags import (
    NODE_KIND_HEAD,
    NODE_KIND_WORKER,
    TAG_RAY_LAUNCH_CONFIG,
    TAG_RAY_NODE_KIND,
    TAG_RAY_NODE_NAME,
    TAG_RAY_NODE_STATUS,
    TAG_RAY_USER_NODE_TYPE,
)

from tests.clusters.conftest import ROOT

pytestmark = [pytest.mark.long, pytest.mark.ci]

FILE = ROOT / "clusters" / "gpu.yaml"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """EC2 of an empty account, and a home folder for the keys that Ray makes."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    monkeypatch.setattr(ray_aws.time, "sleep", lambda _: None)  # a role takes time at AWS
    with mock_aws():
        yield boto3.resource("ec2", region_name="us-west-2")


def bootstrapped(config: JsonObject) -> JsonObject:
    """What Ray makes of the file before it starts a machine."""
    made = AWSNodeProvider.fillout_available_node_types_resources(prepare_config(config))
    return dict(AWSNodeProvider.bootstrap_config(made))


def launch(config: JsonObject, provider: AWSNodeProvider, name: str, kind: str) -> str:
    """Start a machine as the launcher and the autoscaler do; return its id."""
    node_config = {
        **(config["head_node"] if kind == NODE_KIND_HEAD else {}),
        **config["available_node_types"][name]["node_config"],
    }
    tags = {
        TAG_RAY_NODE_KIND: kind,
        TAG_RAY_USER_NODE_TYPE: name,
        TAG_RAY_NODE_NAME: f"ray-{config['cluster_name']}-{kind}",
        TAG_RAY_NODE_STATUS: "uninitialized",
        TAG_RAY_LAUNCH_CONFIG: hash_launch_conf(node_config, config["auth"]),
    }
    provider.create_node(node_config, tags, 1)
    filters = {TAG_RAY_NODE_KIND: kind}
    (node,) = provider.non_terminated_nodes(filters)
    return str(node)


def rules(group: Any) -> set[tuple[str, int | None, str]]:
    """Who may send what to a group's machines: protocol, port, and from where."""
    found = set()
    for rule in group.ip_permissions:
        sources = [allowed["CidrIp"] for allowed in rule["IpRanges"]]
        sources += [allowed["CidrIpv6"] for allowed in rule["Ipv6Ranges"]]
        sources += [allowed["GroupId"] for allowed in rule["UserIdGroupPairs"]]
        found |= {(rule["IpProtocol"], rule.get("FromPort"), source) for source in sources}
    return found


def test_what_ray_makes_is_what_the_file_says_and_nothing_but_ssh_comes_in(aws: Any):
    config, file = bootstrapped(yaml.safe_load(FILE.read_text())), yaml.safe_load(FILE.read_text())
    types = {name: kind["node_config"] for name, kind in config["available_node_types"].items()}
    for name, made in types.items():
        own = file["available_node_types"][name]["node_config"]
        assert {key: made[key] for key in own} == own
        zones = {aws.Subnet(subnet).availability_zone for subnet in made["SubnetIds"]}
        assert zones == set(file["provider"]["availability_zone"].split(","))
    assert config["head_node"].keys() == {"IamInstanceProfile"}  # it starts the others
    assert "IamInstanceProfile" not in types["gpu"]
    key = Path(config["auth"]["ssh_private_key"]).expanduser()
    assert key.stat().st_mode & 0o077 == 0
    assert [pair.name for pair in aws.key_pairs.all()] == [types["head"]["KeyName"]]
    ((group,),) = {tuple(made["SecurityGroupIds"]) for made in types.values()}
    assert rules(aws.SecurityGroup(group)) == {("-1", None, group), ("tcp", 22, "0.0.0.0/0")}

    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    head = launch(config, provider, "head", NODE_KIND_HEAD)
    worker = launch(config, provider, "gpu", NODE_KIND_WORKER)
    for node, name in ((head, "head"), (worker, "gpu")):
        own = file["available_node_types"][name]["node_config"]
        machine = aws.Instance(node)
        assert (machine.instance_type, machine.image_id) == (own["InstanceType"], own["ImageId"])
    assert aws.Instance(head).instance_lifecycle != "spot"
    assert aws.Instance(worker).instance_lifecycle == "spot"
    assert aws.Instance(head).iam_instance_profile["Arn"].endswith("/ray-autoscaler-v1")
    assert aws.Instance(worker).iam_instance_profile is None
    provider.terminate_node(head)
    assert aws.Instance(head).state["Name"] == "stopped"
    assert launch(config, provider, "head", NODE_KIND_HEAD) == head, "it starts again"
    assert aws.Instance(head).state["Name"] == "running"
