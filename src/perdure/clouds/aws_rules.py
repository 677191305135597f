"""What AWS refuses, or what would cost somebody money, beyond the schema of its API. Pure.

Mocks accept most of it. Each rule has its source.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterator
from typing import Any

Values = dict[str, Any]

# "User data is limited to 16 KB, in raw form, before it is base64-encoded": Run commands at launch
# using EC2 user data input, EC2 user guide.
USER_DATA_BYTES = 16 << 10
_NAME = 255
# CreateSecurityGroup: what name and description may hold.
_PLAIN = re.compile(r"[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{1,255}")


def problems(operation: str, values: Values) -> list[str]:
    """Return what is wrong with a call's values, [] where nothing is."""
    rules = {
        "create_launch_template": _template,
        "create_auto_scaling_group": _group,
        "put_scheduled_update_group_action": _limit,
        "create_security_group": _security_group,
        "authorize_security_group_ingress": _ingress,
        "revoke_security_group_ingress": _ingress,
    }
    return list(rules[operation](values)) if operation in rules else []


def _template(values: Values) -> Iterator[str]:
    data: Values = values["LaunchTemplateData"]
    # CreateLaunchTemplate: names of 3 to 128 letters, digits and `().-/_`.
    if not re.fullmatch(r"[a-zA-Z0-9().\-/_]{3,128}", values["LaunchTemplateName"]):
        yield f"`{values['LaunchTemplateName']}` is no name of a launch template"
    # "You can't specify InstanceMarketOptions ... with a mixed instances policy": Auto Scaling
    # groups with multiple instance types; aws refuses at CreateAutoScalingGroup (kops 7066, 10104).
    if "InstanceMarketOptions" in data:
        yield "InstanceMarketOptions and a mixed instances policy exclude each other"
    options = data.get("MetadataOptions", {})
    # "Use IMDSv2", EC2 user guide: optional tokens answer version 1 as well.
    if options.get("HttpTokens") != "required":
        yield "version 1 of the metadata service would be answered"
    # As above, "Considerations": in a container one hop is too few.
    if options.get("HttpPutResponseHopLimit", 1) < 2:
        yield "containers could not reach the metadata service"
    # "Change the instance initiated shutdown behavior", EC2 user guide: stop is the default, and
    # a stopped machine's disk is paid for.
    if data.get("InstanceInitiatedShutdownBehavior") != "terminate":
        yield "a machine that turns itself off would be kept"
    yield from _user_data(data.get("UserData", ""))
    yield from _groups_of(data)
    for specification in (*values.get("TagSpecifications", ()), *data.get("TagSpecifications", ())):
        yield from _tags(specification["Tags"])


def _groups_of(data: Values) -> Iterator[str]:
    groups = data.get("SecurityGroupIds", [])
    # RequestLaunchTemplateData: with a network interface they have to be a part of that.
    if "NetworkInterfaces" in data and (groups or "SecurityGroups" in data):
        yield "NetworkInterfaces and security groups beside them exclude each other"
    # RunInstances: `groupName` and a subnet exclude each other, and the group has subnets.
    if "SecurityGroups" in data:
        yield "security groups are told by their ids where there are subnets"
    wrong = [each for each in groups if not re.fullmatch(r"sg-[0-9a-f]+", each)]
    if wrong:
        yield f"`{', '.join(wrong)}`: no ids of security groups"
    # "Amazon VPC quotas": five for each network interface.
    if len(groups) > 5:
        yield f"{len(groups)} security groups: a machine has five at most"


def _security_group(values: Values) -> Iterator[str]:
    # CreateSecurityGroup: "Can't start with sg-", and few letters.
    name, described = values["GroupName"], values["Description"]
    if not _PLAIN.fullmatch(name) or name.startswith("sg-"):
        yield f"`{name}` is no name of a security group"
    if not _PLAIN.fullmatch(described):
        yield f"`{described}` has a letter that a description cannot have"
    for specification in values.get("TagSpecifications", ()):
        yield from _tags(specification["Tags"])


def _ingress(values: Values) -> Iterator[str]:
    for each in values["IpPermissions"]:
        for network in each["IpRanges"]:
            # IpRange: one address has /32; what is no canonical block is another one once it is in.
            try:
                known = str(ipaddress.IPv4Network(network["CidrIp"]))
            except ValueError:
                known = ""
            if known != network["CidrIp"]:
                yield f"`{network['CidrIp']}` is no block of addresses"


def _user_data(encoded: str) -> Iterator[str]:
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        yield "the user-data is not base64"
        return
    if len(raw) > USER_DATA_BYTES:
        yield f"the user-data has {len(raw)} bytes, more than {USER_DATA_BYTES}"


def _group(values: Values) -> Iterator[str]:
    name = values["AutoScalingGroupName"]
    # CreateAutoScalingGroup: at most 255 ASCII letters, no colon.
    if not re.fullmatch(r"[\x20-\x39\x3b-\x7e]{1,255}", name):
        yield f"`{name}` is no name of a group"
    low, wanted, high = (values[each] for each in ("MinSize", "DesiredCapacity", "MaxSize"))
    if not 0 <= low <= wanted <= high:
        yield f"{low}, {wanted}, {high} are no limits of a group"
    if high > 1:
        yield "a job has one machine at most"
    # CreateAutoScalingGroup: zones or subnets, one of them is required.
    if not values.get("VPCZoneIdentifier") and not values.get("AvailabilityZones"):
        yield "the group has no subnet to start a machine in"
    # "Use Capacity Rebalancing", Auto Scaling user guide: it starts a second one beside the first.
    if values.get("CapacityRebalance"):
        yield "two machines would have one job"
    # "At most 40 overrides", quotas of Auto Scaling.
    overrides = values["MixedInstancesPolicy"]["LaunchTemplate"].get("Overrides", [])
    if not 1 <= len(overrides) <= 40:
        yield f"{len(overrides)} types of machine: between 1 and 40 can be named"
    yield from _tags(values.get("Tags", ()))


def _limit(values: Values) -> Iterator[str]:
    # PutScheduledUpdateGroupAction: "in UTC/GMT only".
    if values["StartTime"].utcoffset() is None or values["StartTime"].utcoffset().total_seconds():
        yield "the limit's time is not UTC"
    if values["MaxSize"] != 0:
        yield "the limit leaves a machine"


def _tags(tags: list[dict[str, str]] | tuple[()]) -> Iterator[str]:
    # "Tag restrictions", EC2 user guide: 50 tags, keys of 128 and values of 256 letters, not aws:.
    if len(tags) > 50:
        yield f"{len(tags)} tags: at most 50"
    for tag in tags:
        key, value = tag["Key"], tag["Value"]
        if not 1 <= len(key) <= 128 or key.lower().startswith("aws:") or len(value) > 256:
            yield f"`{key}` = `{value}` is no tag"
        elif not re.fullmatch(r"[\w +=.:/@-]*", key + value):
            yield f"`{key}` = `{value}` has a letter that a tag cannot have"
