"""A machine of Azure, as it sees itself: who it is, and how its job asks for no other one."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from perdure.clouds.side import tokens

MANAGER = "https://management.azure.com"
SCALE_SETS = "2024-11-01"


def manager_base() -> str:
    """Return where Azure's resource manager is asked: clouds of states have another one."""
    return os.environ.get("AZURE_RESOURCE_MANAGER_ENDPOINT", MANAGER).rstrip("/")


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
        subscription, _, resources = self.owner.partition("/")
        where = f"/subscriptions/{subscription}/resourceGroups/{resources}"
        kind = f"{where}/providers/Microsoft.Compute/virtualMachineScaleSets"
        url = f"{manager_base()}{kind}/{self.group}?api-version={SCALE_SETS}"
        token = tokens.azure_token(f"{MANAGER}/")
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        # Of a set with several sizes the name of its sku is not a size: all of it goes back.
        found = json.loads(tokens.answer("GET", url, headers))
        content = json.dumps({"sku": {**found["sku"], "capacity": 0}}).encode()
        tokens.answer("PATCH", url, headers, content)
