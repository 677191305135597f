"""A machine of AWS, as it sees itself: who it is, and how its job asks for no other one."""

from __future__ import annotations

from dataclasses import dataclass

from perdure.clouds.side import signing


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

    def address(self) -> str:
        """Return where this machine is reached. Asks the metadata service."""
        try:
            return signing.metadata("public-ipv4")
        except OSError:  # of those alone that have one
            return signing.metadata("local-ipv4")

    def settle(self) -> None:
        """Have the group have no machine: this one is ended, and none follows it.

        Raises:
            OSError, ValueError: AWS refuses, or does not answer.
        """
        signing.end_group(self.region, self.group)
