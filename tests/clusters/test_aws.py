"""clusters/gpu.yaml by Ray's own AWS provider, against moto, which keeps an account in memory.

Never `ray up` itself: it would reach for the public addresses of the machines.
"""

import os
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

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

pytestmark = pytest.mark.long

FILE = Path(__file__).parents[2] / "clusters" / "gpu.yaml"
MINE = "203.0.113.7/32"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An empty account, and a home folder for the keys that Ray makes."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    monkeypatch.setattr(ray_aws.time, "sleep", lambda _: None)  # a role takes time at AWS
    with mock_aws():
        yield


def written() -> dict[str, Any]:
    return dict(yaml.safe_load(FILE.read_text(encoding="utf-8")))


def bootstrapped(config: dict[str, Any] | None = None) -> dict[str, Any]:
    """What Ray makes of the file before it starts a machine."""
    made = AWSNodeProvider.fillout_available_node_types_resources(
        prepare_config(config or written())
    )
    return dict(AWSNodeProvider.bootstrap_config(made))


def launch(config: dict[str, Any], provider: AWSNodeProvider, name: str, kind: str) -> str:
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


def machine(node: str) -> Any:
    return boto3.resource("ec2", region_name="us-west-2").Instance(node)


def rules(group: Any) -> set[tuple[str, int | None, str]]:
    """Who may send what to a group's machines: protocol, port, and from where."""
    return {
        (rule["IpProtocol"], rule.get("FromPort"), source)
        for rule in group.ip_permissions
        for source in [
            *(allowed["CidrIp"] for allowed in rule["IpRanges"]),
            *(allowed["CidrIpv6"] for allowed in rule["Ipv6Ranges"]),
            *(allowed["GroupId"] for allowed in rule["UserIdGroupPairs"]),
        ]
    }


def test_what_ray_makes_is_what_the_file_says(aws: None) -> None:
    config, file = bootstrapped(), written()
    ec2 = boto3.resource("ec2", region_name="us-west-2")
    for name, kind in config["available_node_types"].items():
        own = kind["node_config"]
        for key, value in file["available_node_types"][name]["node_config"].items():
            assert own[key] == value
        zones = {ec2.Subnet(subnet).availability_zone for subnet in own["SubnetIds"]}
        assert zones == set(file["provider"]["availability_zone"].split(","))
        assert len(own["SecurityGroupIds"]) == 1
    assert config["head_node"].keys() == {"IamInstanceProfile"}  # it starts the others
    assert "IamInstanceProfile" not in config["available_node_types"]["gpu"]["node_config"]
    head = config["available_node_types"]["head"]["node_config"]
    key = Path(config["auth"]["ssh_private_key"]).expanduser()
    assert key.stat().st_mode & 0o077 == 0
    assert [pair.name for pair in ec2.key_pairs.all()] == [head["KeyName"]]


def test_nothing_but_ssh_comes_in_from_outside(aws: None) -> None:
    config = bootstrapped()
    (group_id,) = config["available_node_types"]["head"]["node_config"]["SecurityGroupIds"]
    group = boto3.resource("ec2", region_name="us-west-2").SecurityGroup(group_id)
    assert rules(group) == {("-1", None, group_id), ("tcp", 22, "0.0.0.0/0")}


def test_ssh_can_be_narrowed_by_the_marked_line(aws: None) -> None:
    (line,) = (line for line in FILE.read_text().splitlines() if "# NARROW" in line)
    config = written()
    config["provider"] |= yaml.safe_load(line.strip().removeprefix("#"))
    name = config["provider"]["security_group"]["GroupName"]
    ec2 = boto3.resource("ec2", region_name="us-west-2")
    (vpc,) = ec2.vpcs.all()
    group = vpc.create_security_group(GroupName=name, Description="SSH from one place")
    group.authorize_ingress(IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp=MINE)
    group.authorize_ingress(
        IpPermissions=[{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group.id}]}]
    )
    made = bootstrapped(config)
    for kind in made["available_node_types"].values():
        assert kind["node_config"]["SecurityGroupIds"] == [group.id]
    group.reload()
    assert rules(group) == {("-1", None, group.id), ("tcp", 22, MINE)}
    assert ip_network(MINE).num_addresses == 1


def test_the_head_is_on_demand_a_worker_on_spot_and_a_stopped_one_starts_again(aws: None) -> None:
    config = bootstrapped()
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    head = launch(config, provider, "head", NODE_KIND_HEAD)
    worker = launch(config, provider, "gpu", NODE_KIND_WORKER)
    for node, name in ((head, "head"), (worker, "gpu")):
        asked = written()["available_node_types"][name]["node_config"]
        assert machine(node).instance_type == asked["InstanceType"]
        assert machine(node).image_id == asked["ImageId"]
    assert machine(head).instance_lifecycle != "spot"
    assert machine(worker).instance_lifecycle == "spot"
    assert machine(head).iam_instance_profile["Arn"].endswith("/ray-autoscaler-v1")
    assert machine(worker).iam_instance_profile is None
    provider.terminate_node(head)
    assert machine(head).state["Name"] == "stopped"
    assert launch(config, provider, "head", NODE_KIND_HEAD) == head
    assert machine(head).state["Name"] == "running"
