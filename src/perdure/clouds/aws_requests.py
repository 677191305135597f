"""What AWS is asked for, for a job: values for its API, and the words of its own tool. Pure.

The calls and their fields: Amazon EC2 API Reference, Amazon EC2 Auto Scaling API Reference.
`aws_rules` has what the real thing refuses beyond its own schema.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perdure.clouds.aws_images import USUAL_ROOT
from perdure.clouds.side.order import BEYOND_S

Values = dict[str, Any]

# A tag of everything that is made, and its value is the project's folder in the bucket.
TAG = "perdure"
JOB_TAG = "perdure-job"
# Deep learning base image with driver and container toolkit: "AWS Deep Learning AMI release notes".
GPU_IMAGE = (
    "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"
)
# "Find Ubuntu images with SSM" in Canonical's documentation.
CPU_IMAGE = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"
ACTION = "perdure-deadline"

_NAME_LENGTH = 100


@dataclass(frozen=True, slots=True)
class Wish:
    """A group of one machine for a job's turn.

    `folder` is the project's in the bucket; `deadline` is in unix seconds, None where it is not
    known yet; `image` is an AMI's id, or `resolve:ssm:` and the parameter that has it; `root` is
    what that calls its disk. `groups` are ids of security groups, (): the network's default one.
    """

    name: str
    job: str
    folder: str
    image: str
    types: tuple[str, ...]
    market: str
    disk_gib: int
    profile: str
    subnets: tuple[str, ...]
    user_data: str
    deadline: float | None
    root: str = USUAL_ROOT
    groups: tuple[str, ...] = ()

    @property
    def tags(self) -> dict[str, str]:
        """Return the tags of all that is made for it."""
        return {TAG: tag_of(self.folder), JOB_TAG: self.job, "Name": self.name}


def group_name(folder: str, job: str, turn: int) -> str:
    """Return the name of group and template: one for each turn of a job in a project's folder."""
    digest = hashlib.sha256(f"{folder}\0{job}".encode()).hexdigest()[:8]
    plain = re.sub(r"[^A-Za-z0-9_-]", "-", job)[:_NAME_LENGTH]
    return f"perdure-{plain}-{digest}-{turn}"


def tag_of(folder: str) -> str:
    """Return a folder's address as a tag can hold it: 256 letters of few kinds."""
    plain = re.sub(r"[^A-Za-z0-9 +=._:/@-]", "-", folder)
    return plain if len(plain) <= 256 else plain[:200] + hashlib.sha256(plain.encode()).hexdigest()


def template(wish: Wish) -> Values:
    """Return the values of CreateLaunchTemplate."""
    disk = {"VolumeSize": wish.disk_gib, "VolumeType": "gp3", "DeleteOnTermination": True}
    return {
        "LaunchTemplateName": wish.name,
        "ClientToken": hashlib.sha256(wish.name.encode()).hexdigest()[:64],
        "LaunchTemplateData": {
            "ImageId": wish.image,
            "IamInstanceProfile": {"Name": wish.profile},
            "UserData": base64.b64encode(wish.user_data.encode()).decode(),
            # A machine that turns itself off is gone, and not kept and paid for.
            "InstanceInitiatedShutdownBehavior": "terminate",
            # Two hops, so that a container reaches it; version 1 is not answered.
            "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 2},
            "BlockDeviceMappings": [{"DeviceName": wish.root, "Ebs": {**disk, "Encrypted": True}}],
            **({"SecurityGroupIds": list(wish.groups)} if wish.groups else {}),
            "TagSpecifications": [
                {"ResourceType": "instance", "Tags": _tags(wish.tags)},
                {"ResourceType": "volume", "Tags": _tags(wish.tags)},
            ],
        },
        "TagSpecifications": [
            {"ResourceType": "launch-template", "Tags": _tags(wish.tags)},
        ],
    }


def group(wish: Wish) -> Values:
    """Return the values of CreateAutoScalingGroup: one machine, of any type, in any zone."""
    share = 0 if wish.market == "spot" else 100
    return {
        "AutoScalingGroupName": wish.name,
        "MinSize": 0,
        "MaxSize": 1,
        "DesiredCapacity": 1,
        "VPCZoneIdentifier": ",".join(wish.subnets),
        # Or a second machine would start beside the first whenever that one may be taken away.
        "CapacityRebalance": False,
        "MixedInstancesPolicy": {
            "LaunchTemplate": {
                "LaunchTemplateSpecification": {
                    "LaunchTemplateName": wish.name,
                    "Version": "$Latest",
                },
                "Overrides": [{"InstanceType": each} for each in wish.types],
            },
            "InstancesDistribution": {
                "OnDemandBaseCapacity": 0,
                "OnDemandPercentageAboveBaseCapacity": share,
                "SpotAllocationStrategy": "price-capacity-optimized",
            },
        },
        "Tags": [_group_tag(wish.name, *each) for each in wish.tags.items()],
    }


def _group_tag(group: str, name: str, value: str) -> Values:
    whose = {"ResourceType": "auto-scaling-group", "ResourceId": group}
    return {**whose, "Key": name, "Value": value, "PropagateAtLaunch": True}


def limit(wish: Wish) -> Values:
    """Return the values of PutScheduledUpdateGroupAction: the end, whoever forgot about it."""
    nothing = {"MinSize": 0, "MaxSize": 0, "DesiredCapacity": 0}
    named = {"AutoScalingGroupName": wish.name, "ScheduledActionName": ACTION}
    if wish.deadline is None:
        return {**named, "StartTime": "max_hours and 15 minutes from then", **nothing}
    at = dt.datetime.fromtimestamp(wish.deadline + BEYOND_S, dt.UTC).replace(microsecond=0)
    return {**named, "StartTime": at, **nothing}


def nothing(name: str) -> Values:
    """Return the values of UpdateAutoScalingGroup that end a group's machine, and have no other."""
    return {"AutoScalingGroupName": name, "MinSize": 0, "MaxSize": 0, "DesiredCapacity": 0}


def trial(machine: str, image: str, profile: str) -> Values:
    """Return the values of RunInstances with which it is tried whether that is allowed."""
    counts = {"MinCount": 1, "MaxCount": 1}
    role = {"IamInstanceProfile": {"Name": profile}}
    return {"ImageId": image, "InstanceType": machine, **counts, **role}


def trial_template(machine: str, folder: str) -> Values:
    """Return the values of CreateLaunchTemplate with which it is tried whether that is allowed."""
    tags = _tags({TAG: tag_of(f"{folder}/any")})
    return {
        "LaunchTemplateName": "perdure-doctor",
        "LaunchTemplateData": {"InstanceType": machine},
        "TagSpecifications": [{"ResourceType": "launch-template", "Tags": tags}],
    }


def calls(wish: Wish) -> tuple[tuple[str, str, Values], ...]:
    """Return what starts a job's turn: service, operation and values, in order."""
    return (
        ("ec2", "create_launch_template", template(wish)),
        ("autoscaling", "create_auto_scaling_group", group(wish)),
        ("autoscaling", "put_scheduled_update_group_action", limit(wish)),
    )


def words(service: str, operation: str, values: Values) -> str:
    """Return a call as a shell would take it, with the provider's own tool."""
    text = json.dumps(values, indent=1, default=_plain)
    verb = operation.replace("_", "-")
    return f"aws {service} {verb} --cli-input-json {shlex.quote(text)}"


def _tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": name, "Value": value} for name, value in tags.items()]


def _plain(value: object) -> str:
    if isinstance(value, dt.datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    raise TypeError(type(value).__name__)
