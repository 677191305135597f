"""The security group by which visitors come to a target's machines: made once, in the default VPC.

Calls and fields: Amazon EC2 API Reference. Groups of a default VPC may be told by their names; a
launch template that is used with subnets wants their ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdure.clouds import aws_iam
from perdure.clouds import aws_requests as requests
from perdure.clouds.aws_account import Account
from perdure.clouds.aws_requests import Values
from perdure.clouds.side.door import PORT
from perdure.errors import UsageError
from perdure.model.settings import CloudSettings
from perdure.moving.address import parse_address

# What whoever submits jobs has to be allowed beside all else, where machines may be visited.
LOOKING = ("ec2:DescribeSecurityGroups",)
# The group that a machine is in whose template names none: naming one takes its place.
DEFAULT = "default"
_TOLD = "visitors of machines of perdure, by ssh"


def names(wanted: CloudSettings) -> tuple[str, ...]:
    """Return the names of the groups that a machine is in, () for the usual one alone. Pure."""
    return (DEFAULT, _name(wanted)) if wanted.opened_to else ()


def setup_calls(wanted: CloudSettings) -> tuple[tuple[str, str, Values], ...]:
    """Return what makes the group and lets each network in: service, operation, values. Pure.

    A call for each network: of one that names several AWS does nothing where one is in already.
    """
    if not wanted.opened_to:
        return ()
    tags = [{"Key": requests.TAG, "Value": requests.tag_of(wanted.bucket)}]
    group = {
        "GroupName": _name(wanted),
        "Description": _TOLD,
        "TagSpecifications": [{"ResourceType": "security-group", "Tags": tags}],
    }
    rules = (_rule(wanted, each) for each in wanted.opened_to)
    opening = (("ec2", "authorize_security_group_ingress", each) for each in rules)
    return (("ec2", "create_security_group", group), *opening)


def teardown_calls(wanted: CloudSettings) -> tuple[tuple[str, str, Values], ...]:
    """Return what deletes it. Pure."""
    group = {"GroupName": _name(wanted)}
    return (("ec2", "delete_security_group", group),) if wanted.opened_to else ()


def closing_calls(account: Account, wanted: CloudSettings) -> tuple[tuple[str, str, Values], ...]:
    """Return what shuts out the networks that may visit no longer. Asks AWS."""
    found = let_in(account, wanted) if wanted.opened_to else None
    outdated = sorted((found or set()) - {*wanted.opened_to})
    rules = (_rule(wanted, each) for each in outdated)
    return tuple(("ec2", "revoke_security_group_ingress", each) for each in rules)


def closing_text(wanted: CloudSettings) -> str:
    """Return what is said of that beforehand. Pure."""
    verb = "revoke-security-group-ingress"
    return f"# then `{verb}` for whatever else `{_name(wanted)}` lets in at port {PORT}"


def ids(account: Account, wanted: CloudSettings) -> tuple[str, ...]:
    """Return the groups of a machine's template, () where it needs to name none. Asks AWS.

    Raises:
        UsageError: there is no such group yet.
    """
    if not wanted.opened_to:
        return ()
    found = account.security_groups(names(wanted))
    ours = _ours(found, wanted)
    if ours is None:
        raise UsageError(
            f"`{wanted.region}` has no security group `{_name(wanted)}`, which `ssh_from` needs",
            hint=f"perdure cloud setup {account.target}",
        )
    beside = (each for each in found if each["GroupName"] == DEFAULT)
    usual = (each["GroupId"] for each in beside if each["VpcId"] == ours["VpcId"])
    return (*map(str, usual), str(ours["GroupId"]))


def let_in(account: Account, wanted: CloudSettings) -> set[str] | None:
    """Return the networks that the group lets in, None where there is none. Asks AWS."""
    ours = _ours(account.security_groups((_name(wanted),)), wanted)
    if ours is None:
        return None
    return {
        str(network["CidrIp"])
        for each in ours["IpPermissions"]
        if (each["IpProtocol"], each.get("FromPort"), each.get("ToPort")) == ("tcp", PORT, PORT)
        for network in each["IpRanges"]
    }


def _name(wanted: CloudSettings) -> str:
    return aws_iam.policy_name(parse_address(wanted.bucket))


def _rule(wanted: CloudSettings, network: str) -> Values:
    ports = {"IpProtocol": "tcp", "FromPort": PORT, "ToPort": PORT}
    return {
        "GroupName": _name(wanted),
        "IpPermissions": [{**ports, "IpRanges": [{"CidrIp": network}]}],
    }


def _ours(found: list[Mapping[str, Any]], wanted: CloudSettings) -> Mapping[str, Any] | None:
    return next((each for each in found if each["GroupName"] == _name(wanted)), None)
