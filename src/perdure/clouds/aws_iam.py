"""The least that AWS has to allow: to a person who submits jobs, and to their machines. Pure.

Actions, resources and conditions: Service Authorization Reference, for Amazon EC2, Amazon EC2 Auto
Scaling, Amazon S3, AWS Systems Manager and IAM.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from perdure.clouds.aws_requests import TAG
from perdure.moving.address import Address

Values = dict[str, Any]

ROLE = "perdure-instance"
_SERVICES = ("autoscaling.amazonaws.com", "spot.amazonaws.com")
_LOOKING = (
    "autoscaling:DescribeAutoScalingGroups",
    "autoscaling:DescribeScalingActivities",
    "ec2:DescribeImages",
    "ec2:DescribeInstanceTypeOfferings",
    "ec2:DescribeInstanceTypes",
    "ec2:DescribeInstances",
    "ec2:DescribeLaunchTemplateVersions",
    "ec2:DescribeLaunchTemplates",
    "ec2:DescribeSpotPriceHistory",
    "ec2:DescribeSubnets",
    "pricing:GetProducts",
    "servicequotas:GetServiceQuota",
    "sts:GetCallerIdentity",
)
_MAKING = ("autoscaling:CreateAutoScalingGroup", "autoscaling:CreateOrUpdateTags")
_ENDING = (
    "autoscaling:DeleteAutoScalingGroup",
    "autoscaling:PutScheduledUpdateGroupAction",
    "autoscaling:UpdateAutoScalingGroup",
)
_ONESELF = "arn:aws:iam::*:user/${aws:username}"
_CLOSED = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
_TRUST = {
    "Effect": "Allow",
    "Principal": {"Service": "ec2.amazonaws.com"},
    "Action": "sts:AssumeRole",
}


def policy_name(address: Address) -> str:
    """Return what the machines' policy for a folder of a bucket is called: a role may have many."""
    return f"perdure-{hashlib.sha256(str(address).encode()).hexdigest()[:8]}"


def machine_policy(address: Address) -> Values:
    """Return what a machine may do: its folder of the bucket, and end the groups of that bucket."""
    tagged = {"StringLike": {f"autoscaling:ResourceTag/{TAG}": f"{address}/*"}}
    ending = _allow("End", ["autoscaling:UpdateAutoScalingGroup"], "*", tagged)
    return _policy([*_bucket(address), ending])


def person_policy(address: Address, role: str = ROLE, more: tuple[str, ...] = ()) -> Values:
    """Return what a person may do who submits jobs, looks at them and clears up after them.

    `more` is what a target wants looked at beside what all do.
    """
    own = {"StringLike": {f"aws:ResourceTag/{TAG}": f"{address}/*"}}
    asked = {"StringLike": {f"aws:RequestTag/{TAG}": f"{address}/*"}}
    made = {"StringEquals": {"ec2:CreateAction": ["CreateLaunchTemplate", "RunInstances"]}}
    to_machines = {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
    # The provider makes its own roles at the first group and the first spot machine of an account.
    first = {"StringEquals": {"iam:AWSServiceName": list(_SERVICES)}}
    named = f"arn:aws:iam::*:role/{role}"
    return _policy(
        [
            *_bucket(address),
            _allow("Look", [*_LOOKING, *more]),
            _allow("Images", ["ssm:GetParameter"], "arn:aws:ssm:*:*:parameter/aws/service/*"),
            # An Auto Scaling group with a launch template asks whether its maker may do this.
            _allow("Start", ["ec2:RunInstances"]),
            _allow("Tag", ["ec2:CreateTags"], "*", made),
            _allow("Templates", ["ec2:CreateLaunchTemplate"], "*", asked),
            _allow("Own", ["ec2:DeleteLaunchTemplate", "ec2:TerminateInstances"], "*", own),
            _allow("Groups", list(_MAKING), "*", asked),
            _allow("OwnGroups", list(_ENDING), "*", own),
            _allow("Role", ["iam:PassRole"], named, to_machines),
            _allow("Services", ["iam:CreateServiceLinkedRole"], "*", first),
            # `perdure doctor` asks for one's own permissions, one by one.
            _allow("Ask", ["iam:SimulatePrincipalPolicy"], _ONESELF),
        ]
    )


def setup_calls(
    address: Address, region: str, role: str = ROLE
) -> tuple[tuple[str, str, Values], ...]:
    """Return what makes bucket, role and instance profile: service, operation and values."""
    # S3 refuses its oldest region as a constraint: CreateBucket, Amazon S3 API Reference.
    place = {} if region == "us-east-1" else {"LocationConstraint": region}
    where = {"CreateBucketConfiguration": place} if place else {}
    bucket = {"Bucket": address.bucket}
    closed = {"PublicAccessBlockConfiguration": dict.fromkeys(_CLOSED, True)}
    tags = {"Tags": [{"Key": TAG, "Value": str(address)}]}
    named, profile = {"RoleName": role}, {"InstanceProfileName": role}
    document = json.dumps(machine_policy(address))
    policy = {"PolicyName": policy_name(address), "PolicyDocument": document}
    trust = {"AssumeRolePolicyDocument": json.dumps(_policy([_TRUST]))}
    return (
        ("s3", "create_bucket", {**bucket, **where}),
        ("s3", "put_public_access_block", {**bucket, **closed}),
        ("iam", "create_role", {**named, **trust, **tags}),
        ("iam", "put_role_policy", {**named, **policy}),
        ("iam", "create_instance_profile", {**profile, **tags}),
        ("iam", "add_role_to_instance_profile", {**profile, **named}),
    )


def teardown_calls(address: Address, role: str = ROLE) -> tuple[tuple[str, str, Values], ...]:
    """Return what takes from the machines what is of that bucket. It stays: jobs are in it."""
    policy = {"RoleName": role, "PolicyName": policy_name(address)}
    return (("iam", "delete_role_policy", policy),)


def role_deletion(role: str = ROLE) -> tuple[tuple[str, str, Values], ...]:
    """Return what deletes instance profile and role, once that has no policies any more."""
    profile = {"InstanceProfileName": role}
    return (
        ("iam", "remove_role_from_instance_profile", {**profile, "RoleName": role}),
        ("iam", "delete_instance_profile", profile),
        ("iam", "delete_role", {"RoleName": role}),
    )


def _bucket(address: Address) -> list[Values]:
    arn = f"arn:aws:s3:::{address.bucket}"
    below = {"StringLike": {"s3:prefix": [f"{address.folder}/*"]}}
    objects = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    return [
        _allow("Objects", objects, f"{arn}/{address.folder}/*"),
        _allow("List", ["s3:ListBucket"], arn, below),
    ]


def _allow(
    name: str, actions: list[str], resource: str = "*", condition: Values | None = None
) -> Values:
    found: Values = {"Sid": name, "Effect": "Allow", "Action": actions, "Resource": resource}
    return found if condition is None else {**found, "Condition": condition}


def _policy(statements: list[Values]) -> Values:
    return {"Version": "2012-10-17", "Statement": statements}
