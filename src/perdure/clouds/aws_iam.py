"""The least that AWS has to allow: to a person who submits jobs, and to their machines. Pure.

Actions, resources and conditions: Service Authorization Reference, for Amazon EC2, Amazon EC2 Auto
Scaling, Amazon S3, AWS Systems Manager and IAM.
"""

from __future__ import annotations

import json
from typing import Any

from perdure.clouds.aws_requests import TAG
from perdure.moving.address import Address

Values = dict[str, Any]

ROLE = "perdure-instance"
POLICY = "perdure"


def machine_policy(address: Address) -> Values:
    """Return what a machine may do: its folder of the bucket, and end the groups of that bucket."""
    tagged = {"StringLike": {f"autoscaling:ResourceTag/{TAG}": f"{address}/*"}}
    ending = _allow("End", ["autoscaling:UpdateAutoScalingGroup"], "*", tagged)
    return _policy([*_bucket(address), ending])


def person_policy(address: Address, role: str = ROLE) -> Values:
    """Return what a person may do who submits jobs, looks at them and clears up after them."""
    own = {"StringLike": {f"aws:ResourceTag/{TAG}": f"{address}/*"}}
    asked = {"StringLike": {f"aws:RequestTag/{TAG}": f"{address}/*"}}
    to_machines = {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
    return _policy(
        [
            *_bucket(address),
            _allow(
                "Look",
                [
                    "autoscaling:DescribeAutoScalingGroups",
                    "autoscaling:DescribeScalingActivities",
                    "ec2:DescribeInstanceTypeOfferings",
                    "ec2:DescribeInstanceTypes",
                    "ec2:DescribeInstances",
                    "ec2:DescribeLaunchTemplateVersions",
                    "ec2:DescribeLaunchTemplates",
                    "ec2:DescribeSpotPriceHistory",
                    "ec2:DescribeSubnets",
                    "servicequotas:GetServiceQuota",
                    "sts:GetCallerIdentity",
                ],
            ),
            _allow("Images", ["ssm:GetParameter"], "arn:aws:ssm:*:*:parameter/aws/service/*"),
            # An Auto Scaling group with a launch template asks whether its maker may do this.
            _allow("Start", ["ec2:RunInstances", "ec2:CreateTags"]),
            _allow("Templates", ["ec2:CreateLaunchTemplate"], "*", asked),
            _allow("Own", ["ec2:DeleteLaunchTemplate", "ec2:TerminateInstances"], "*", own),
            _allow(
                "Groups",
                ["autoscaling:CreateAutoScalingGroup", "autoscaling:CreateOrUpdateTags"],
                "*",
                asked,
            ),
            _allow(
                "OwnGroups",
                [
                    "autoscaling:DeleteAutoScalingGroup",
                    "autoscaling:PutScheduledUpdateGroupAction",
                    "autoscaling:UpdateAutoScalingGroup",
                ],
                "*",
                own,
            ),
            _allow("Role", ["iam:PassRole"], f"arn:aws:iam::*:role/{role}", to_machines),
        ]
    )


def setup_calls(
    address: Address, region: str, role: str = ROLE
) -> tuple[tuple[str, str, Values], ...]:
    """Return what makes bucket, role and instance profile: service, operation and values."""
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "ec2.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    # S3 refuses its oldest region as a constraint: CreateBucket, Amazon S3 API Reference.
    place = {} if region == "us-east-1" else {"LocationConstraint": region}
    where = {"CreateBucketConfiguration": place} if place else {}
    closed = dict.fromkeys(
        ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
    )
    tags = [{"Key": TAG, "Value": str(address)}]
    policy = json.dumps(machine_policy(address))
    return (
        ("s3", "create_bucket", {"Bucket": address.bucket, **where}),
        (
            "s3",
            "put_public_access_block",
            {"Bucket": address.bucket, "PublicAccessBlockConfiguration": closed},
        ),
        (
            "iam",
            "create_role",
            {"RoleName": role, "AssumeRolePolicyDocument": json.dumps(trust), "Tags": tags},
        ),
        (
            "iam",
            "put_role_policy",
            {"RoleName": role, "PolicyName": POLICY, "PolicyDocument": policy},
        ),
        ("iam", "create_instance_profile", {"InstanceProfileName": role, "Tags": tags}),
        (
            "iam",
            "add_role_to_instance_profile",
            {"InstanceProfileName": role, "RoleName": role},
        ),
    )


def teardown_calls(role: str = ROLE) -> tuple[tuple[str, str, Values], ...]:
    """Return what undoes the setup, but for the bucket: jobs are in it."""
    return (
        (
            "iam",
            "remove_role_from_instance_profile",
            {"InstanceProfileName": role, "RoleName": role},
        ),
        ("iam", "delete_instance_profile", {"InstanceProfileName": role}),
        ("iam", "delete_role_policy", {"RoleName": role, "PolicyName": POLICY}),
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
