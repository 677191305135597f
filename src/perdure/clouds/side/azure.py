"""A machine of Azure, as it sees itself: who it is, and how its job asks for no other one."""

from __future__ import annotations

import contextlib
import json
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

    def address(self) -> str:
        """Return where this machine is reached. Asks the metadata service.

        Of a standard public address the instance's own words are empty, and those of the load
        balancer have it: "Azure Instance Metadata Service", and "Retrieve load balancer metadata".
        """
        inner = "instance/network/interface/0/ipv4/ipAddress/0?api-version=2021-02-01"
        found = json.loads(tokens.azure_metadata(inner))
        outside = str(found.get("publicIpAddress") or "")
        with contextlib.suppress(OSError, ValueError, LookupError):  # 404: it has none
            told = json.loads(tokens.azure_metadata("loadbalancer?api-version=2020-10-01"))
            addresses = told["loadbalancer"]["publicIpAddresses"]
            outside = outside or str(addresses[0]["frontendIpAddress"])
        return outside or str(found["privateIpAddress"])

    def settle(self) -> None:
        """Have the scale set have no machine: its capacity is 0.

        Raises:
            OSError, ValueError: Azure refuses, or does not answer.
        """
        tokens.end_azure(self.owner, self.group)
