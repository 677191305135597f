"""A machine of Azure, as it sees itself: who it is, and how its job asks for no other one."""

from __future__ import annotations

from dataclasses import dataclass

from perdure.clouds.side import tokens


@dataclass(frozen=True, slots=True)
class Azure:
    """A machine of the scale set of a job. `owner` is subscription and resource group."""

    owner: str
    group: str

    @property
    def watched(self) -> str:
        """Return whose metadata service gives notice here."""
        return "azure"

    def identity(self) -> str:
        """Return the id of this virtual machine. Asks the metadata service."""
        return tokens.azure_metadata("instance/compute/vmId?api-version=2021-02-01&format=text")

    def kind(self) -> str:
        """Return the size of this machine. Asks the metadata service."""
        return tokens.azure_metadata("instance/compute/vmSize?api-version=2021-02-01&format=text")

    def settle(self) -> None:
        """Have the scale set have no machine: its capacity is 0.

        Raises:
            OSError, ValueError: Azure refuses, or does not answer.
        """
        tokens.end_azure(self.owner, self.group)
