"""AWS, asked by its own SDK: the calls of `aws_requests`, and its refusals in our words.

boto3 is imported on use: it takes a quarter of a second.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from perdure.clouds import aws_requests as requests
from perdure.clouds import aws_rules as rules
from perdure.clouds.aws_images import Image, check_processors, read_image
from perdure.clouds.aws_quotas import quota_codes
from perdure.errors import (
    EnvironmentFailed,
    HostUnreachable,
    MissingProgram,
    PerdureError,
    UsageError,
)
from perdure.moving.bucket import CLOCK_HINT

_CONNECT_S = 10
_ANSWER_S = 30
_THERE = (
    "AlreadyExists",
    "InvalidLaunchTemplateName.AlreadyExistsException",
    "InvalidGroup.Duplicate",
    "InvalidPermission.Duplicate",
)
_NONE = ("notfound", "not found", "nosuchentity")
_DENIED = ("AccessDenied", "UnauthorizedOperation", "AccessDeniedException")
_CLOCK = (
    "RequestExpired",
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
    "RequestTimeTooSkewed",
)
_ALIVE = ["pending", "running", "stopping", "stopped"]
_WRONG_KEYS = ("InvalidClientTokenId", "UnrecognizedClientException", "ExpiredToken", "AuthFailure")


@dataclass(slots=True)
class Account:
    """A region of AWS, with the user's usual credentials. Every method touches the network.

    They raise `EnvironmentFailed` where there are no credentials or not the permissions,
    `HostUnreachable` where AWS does not answer, `UsageError` for what it cannot give.
    """

    region: str
    target: str = "aws"
    _clients: dict[str, Any] = field(default_factory=dict)

    def call(self, service: str, operation: str, **values: object) -> Mapping[str, Any]:
        """Return the answer to a call; what it has no right to ask for is refused before."""
        found = rules.problems(operation, dict(values))
        if found:
            raise UsageError(f"AWS would refuse `{operation}`: {'; '.join(found)}")
        with _in_our_words(self.target, operation):
            answer: Mapping[str, Any] = getattr(self._client(service), operation)(**values)
            return answer

    def pages(self, service: str, operation: str, **values: object) -> Iterator[Mapping[str, Any]]:
        """Yield all pages of an answer."""
        with _in_our_words(self.target, operation):
            yield from self._client(service).get_paginator(operation).paginate(**values)

    def start(self, wish: requests.Wish) -> None:
        """Make the group of a job's turn; one that is there is found, not made again."""
        for service, operation, values in requests.calls(wish):
            try:
                self.call(service, operation, **values)
            except _Exists:
                continue

    def make(self, service: str, operation: str, values: Mapping[str, Any]) -> bool:
        """Return whether something was made, and was not there already."""
        try:
            self.call(service, operation, **values)
        except _Exists:
            return False
        except _Gone as error:
            # "Eventual consistency in the Amazon EC2 API", and as much of IAM.
            raise EnvironmentFailed(
                f"AWS does not know everywhere yet what was made: {error.message}",
                hint=f"in a minute: perdure cloud setup {self.target}",
            ) from None
        return True

    def unmake(self, service: str, operation: str, values: Mapping[str, Any]) -> bool:
        """Return whether something was deleted, and was there."""
        try:
            self.call(service, operation, **values)
        except _Gone:
            return False
        return True

    def policies(self, role: str) -> list[str]:
        """Return the names of the policies that are a role's own; none is none."""
        try:
            return [
                str(each)
                for page in self.pages("iam", "list_role_policies", RoleName=role)
                for each in page["PolicyNames"]
            ]
        except _Gone:
            return []

    def stop(self, name: str) -> None:
        """Have a group have no machine; none of that name is right too."""
        with contextlib.suppress(_Gone):
            self.call("autoscaling", "update_auto_scaling_group", **requests.nothing(name))

    def forget(self, name: str) -> None:
        """Delete a group with its machines, and its template; none is right too."""
        with contextlib.suppress(_Gone):
            self.call(
                "autoscaling",
                "delete_auto_scaling_group",
                AutoScalingGroupName=name,
                ForceDelete=True,
            )
        wanted = [{"Name": "launch-template-name", "Values": [name]}]
        for each in self.call("ec2", "describe_launch_templates", Filters=wanted)[
            "LaunchTemplates"
        ]:
            with contextlib.suppress(_Gone):
                number = each["LaunchTemplateId"]
                self.call("ec2", "delete_launch_template", LaunchTemplateId=number)

    def groups(self, folder: str) -> dict[str, tuple[str, int]]:
        """Return job and wanted machines of the groups that a project's folder has, by name."""
        tag = requests.tag_of(folder)
        wanted = [{"Name": f"tag:{requests.TAG}", "Values": [tag]}]
        found = {}
        for page in self.pages("autoscaling", "describe_auto_scaling_groups", Filters=wanted):
            for each in page["AutoScalingGroups"]:
                tags = {one["Key"]: one["Value"] for one in each["Tags"]}
                job = tags.get(requests.JOB_TAG, "")
                found[str(each["AutoScalingGroupName"])] = (job, int(each["DesiredCapacity"]))
        return found

    def templates(self, folder: str) -> dict[str, str]:
        """Return the jobs of the launch templates that a project's folder has, by name."""
        wanted = [{"Name": f"tag:{requests.TAG}", "Values": [requests.tag_of(folder)]}]
        return {
            str(each["LaunchTemplateName"]): _job_of(each)
            for page in self.pages("ec2", "describe_launch_templates", Filters=wanted)
            for each in page["LaunchTemplates"]
        }

    def machines(self, folder: str) -> dict[str, str]:
        """Return the jobs of the machines that a project's folder has, by their ids."""
        wanted = [
            {"Name": f"tag:{requests.TAG}", "Values": [requests.tag_of(folder)]},
            {
                "Name": "instance-state-name",
                "Values": _ALIVE,
            },
        ]
        return {
            str(each["InstanceId"]): _job_of(each)
            for page in self.pages("ec2", "describe_instances", Filters=wanted)
            for reservation in page["Reservations"]
            for each in reservation["Instances"]
        }

    def end_machines(self, ids: list[str]) -> None:
        """End machines, whatever they are at."""
        if ids:
            self.call("ec2", "terminate_instances", InstanceIds=ids)

    def image(self, named: str) -> Image:
        """Return an AMI, by its id or by the parameter that has that."""
        ami = named
        try:
            if not named.startswith("ami-"):
                ami = str(self.call("ssm", "get_parameter", Name=named)["Parameter"]["Value"])
            (found,) = self.call("ec2", "describe_images", ImageIds=[ami])["Images"]
        except (_Gone, ValueError):
            what = "image" if named.startswith("ami-") else "parameter"
            raise UsageError(
                f"there is no {what} `{named}` in `{self.region}`",
                hint=f"`image` in `[targets.{self.target}]`: an AMI, such as ami-0123abcd",
            ) from None
        return read_image(found)

    def subnets(self) -> tuple[str, ...]:
        """Return a subnet of each zone of the default network."""
        wanted = [{"Name": "default-for-az", "Values": ["true"]}]
        found = self.call("ec2", "describe_subnets", Filters=wanted)["Subnets"]
        if not found:
            raise UsageError(
                f"`{self.region}` has no default network",
                hint=f"`subnets` in `[targets.{self.target}]`",
            )
        return tuple(sorted(str(each["SubnetId"]) for each in found))

    def security_groups(self, names: tuple[str, ...]) -> list[Mapping[str, Any]]:
        """Return those of the default network that are so named, [] where it lacks one."""
        try:
            found = self.call("ec2", "describe_security_groups", GroupNames=list(names))
        except _Gone:
            return []
        return list(found["SecurityGroups"])

    def gpus(self, types: tuple[str, ...]) -> dict[str, int]:
        """Return how many GPUs each type of machine has.

        One that the region lacks, or that has another processor, is refused.
        """
        offered = {
            str(each["InstanceType"])
            for page in self.pages(
                "ec2",
                "describe_instance_type_offerings",
                Filters=[{"Name": "instance-type", "Values": list(types)}],
            )
            for each in page["InstanceTypeOfferings"]
        }
        lacking = [each for each in types if each not in offered]
        if lacking:
            raise UsageError(
                f"`{self.region}` has no machines `{', '.join(lacking)}`",
                hint=f"`types` in `[targets.{self.target}]`",
            )
        answer = self.call("ec2", "describe_instance_types", InstanceTypes=list(types))
        told = {str(each["InstanceType"]): each for each in answer["InstanceTypes"]}
        check_processors(told, self.target)
        return {
            name: sum(int(gpu.get("Count", 0)) for gpu in each.get("GpuInfo", {}).get("Gpus", ()))
            for name, each in told.items()
        }

    def identity(self) -> str:
        """Return whose credentials these are."""
        return str(self.call("sts", "get_caller_identity")["Arn"])

    def denied(self, machine: str, image: str, profile: str, folder: str) -> dict[str, str]:
        """Return of each permission that EC2 tells without doing anything why it is lacking, "".

        Those of Auto Scaling cannot be asked for: it has no dry run.
        """
        asked = {
            "ec2:RunInstances, iam:PassRole": (
                "run_instances",
                requests.trial(machine, image, profile),
            ),
            "ec2:CreateLaunchTemplate": (
                "create_launch_template",
                requests.trial_template(machine, folder),
            ),
        }
        found = {}
        for permission, (operation, values) in asked.items():
            try:
                with _in_our_words(self.target, operation):
                    getattr(self._client("ec2"), operation)(DryRun=True, **values)
                found[permission] = ""
            except _Allowed:
                found[permission] = ""
            except PerdureError as error:
                found[permission] = error.message
        return found

    def quotas(self, types: tuple[str, ...], market: str) -> dict[str, float | None]:
        """Return the quotas that count for types of machine, in cores; None: it is not told."""
        found: dict[str, float | None] = {}
        for what, code in quota_codes(types, market).items():
            try:
                answer = self.call(
                    "service-quotas", "get_service_quota", ServiceCode="ec2", QuotaCode=code
                )
                found[what] = float(answer["Quota"]["Value"])
            except PerdureError:
                found[what] = None
        return found

    def _client(self, service: str) -> Any:  # noqa: ANN401 - boto3 has no types
        if service not in self._clients:
            try:
                import boto3
                from botocore.config import Config
            except ImportError as error:
                raise MissingProgram(
                    "AWS needs the library boto3, which is not installed",
                    program="boto3",
                    hint="pip install 'perdure[cli,aws]'",
                ) from error
            limits = Config(
                connect_timeout=_CONNECT_S,
                read_timeout=_ANSWER_S,
                retries={"mode": "standard", "max_attempts": 4},
            )
            self._clients[service] = boto3.client(service, region_name=self.region, config=limits)
        return self._clients[service]


class _Exists(PerdureError):
    """It is there already."""


class _Allowed(PerdureError):
    """It would have been done."""


class _Gone(PerdureError):
    """There is none."""


@contextlib.contextmanager
def _in_our_words(target: str, operation: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        said = error.response.get("Error", {})
        raise _explained(
            target, operation, str(said.get("Code")), str(said.get("Message"))
        ) from error
    except BotoCoreError as error:
        raise _unanswered(operation, error) from error


def _explained(target: str, operation: str, code: str, message: str) -> PerdureError:
    """Return the error for what AWS answered. Pure."""
    lowered = f"{code} {message}".lower()
    if operation == "add_role_to_instance_profile" and code == "LimitExceeded":
        return _Exists(message)  # it has one, which is its own
    if code == "BucketAlreadyExists":  # one's own is "already owned by you"
        return UsageError(
            "the bucket belongs to another account: names are shared by all of AWS",
            hint=f"`bucket` in `[targets.{target}]`: another name, or that account's credentials",
        )
    if code in _THERE or "alreadyexists" in code.lower() or "alreadyowned" in code.lower():
        return _Exists(message)
    if code == "DryRunOperation":
        return _Allowed(message)
    if any(word in lowered for word in _NONE):
        return _Gone(message)
    return _refused(target, operation, code, message)


def _refused(target: str, operation: str, code: str, message: str) -> PerdureError:
    """Return the error for what AWS does not do. Pure."""
    if code in _DENIED:
        # It may be another one than of the call: a group is refused for want of `iam:PassRole`.
        named = re.search(r"not authorized to perform: ([\w-]+:\w+)", message)
        call = named[1] if named else "".join(word.title() for word in operation.split("_"))
        return EnvironmentFailed(
            f"AWS does not let us `{call}`: permission denied",
            hint=f"perdure cloud setup {target} --explain: the permissions that are needed",
        )
    if code == "DependencyViolation":
        return EnvironmentFailed(
            f"AWS refuses `{operation}`: machines of jobs have it",
            hint=f"once none is left: perdure cloud teardown {target}",
        )
    if code in _CLOCK:
        return EnvironmentFailed(
            f"AWS does not take the signature: {code}",
            hint=CLOCK_HINT,
        )
    if code in _WRONG_KEYS:
        return EnvironmentFailed("AWS does not know the credentials", hint="aws configure")
    if "limitexceeded" in code.lower() or "quota" in message.lower():
        return EnvironmentFailed(
            f"AWS refuses `{operation}`: a quota is reached ({code})",
            hint=f"perdure doctor {target}",
        )
    return UsageError(f"AWS refuses `{operation}`: {message or code}")


def _unanswered(operation: str, error: Exception) -> PerdureError:
    """Return the error for what the SDK itself says. Pure."""
    kind = type(error).__name__
    if kind in ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"):
        return EnvironmentFailed("no credentials for AWS were found", hint="aws configure")
    if kind == "ParamValidationError":
        return UsageError(f"`{operation}` is not understood by AWS: {error}")
    return HostUnreachable(f"AWS does not answer `{operation}`: {kind}", hint="try again")


def _job_of(found: Mapping[str, Any]) -> str:
    tags = {each["Key"]: each["Value"] for each in found.get("Tags", ())}
    return str(tags.get(requests.JOB_TAG, ""))
