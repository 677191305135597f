"""A machine of AWS, as it sees itself: who it is, and how its job asks for no other one."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from perdure.clouds.side import signing

# Amazon EC2 Auto Scaling API Reference.
_VERSION = "2011-01-01"


@dataclass(frozen=True, slots=True)
class Aws:
    """A machine of the group of a job."""

    region: str
    group: str

    @property
    def watched(self) -> str:
        """Return whose metadata service gives notice here."""
        return "aws"

    def identity(self) -> str:
        """Return the instance's id. Asks the metadata service."""
        return signing.metadata("instance-id")

    def kind(self) -> str:
        """Return the type of this machine, such as `g5.xlarge`. Asks the metadata service."""
        return signing.metadata("instance-type")

    def settle(self) -> None:
        """Have the group have no machine: this one is ended, and none follows it.

        Powering off alone would only have the group replace it.

        Raises:
            OSError, ValueError: AWS refuses, or does not answer.
        """
        none = {"MinSize": "0", "MaxSize": "0", "DesiredCapacity": "0"}
        named = {"AutoScalingGroupName": self.group, **none}
        words = {"Action": "UpdateAutoScalingGroup", "Version": _VERSION, **named}
        body = urlencode(words).encode()
        signing.call("autoscaling", self.region, body, signing.credentials())
