"""A machine that SkyPilot brought, of whatever cloud: it ends with what it was brought for."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from perdure.clouds.side.aws import Aws
from perdure.clouds.side.azure import Azure
from perdure.clouds.side.gcp import Gcp

# "Environment Variables" in SkyPilot's documentation: cluster_name, cloud, region and zone as JSON.
VARIABLE = "SKYPILOT_CLUSTER_INFO"
# Those whose metadata services are known.
_KNOWN: Mapping[str, Aws | Gcp | Azure] = MappingProxyType(
    {"aws": Aws("", ""), "gcp": Gcp("", "", ""), "azure": Azure("", "")}
)


class Sky:
    """A machine of a managed job."""

    @property
    def watched(self) -> str:
        """Return whose metadata service gives notice here, "" for none that is known."""
        cloud = _told("cloud").lower()
        return cloud if cloud in _KNOWN else ""

    def identity(self) -> str:
        """Return a name that no other machine has: those of SkyPilot's are the next one's, too."""
        return f"{_told('cluster_name') or 'sky'}/{secrets.token_hex(4)}"

    def kind(self) -> str:
        """Return cloud and region, and the type of this machine where its cloud tells that."""
        where = "/".join(filter(None, (_told("cloud").lower(), _told("region"))))
        try:
            return f"{where} {_KNOWN[self.watched].kind()}"
        except (OSError, ValueError, KeyError):
            return where

    def address(self) -> str:
        """Return "": SkyPilot lets its user in, who has its key."""
        return ""

    def settle(self) -> None:
        """Return: this program's exit code says whether another machine is to follow."""


def _told(name: str) -> str:
    """Return what SkyPilot told of this machine, "" where it did not."""
    try:
        found: Any = json.loads(os.environ.get(VARIABLE, ""))
        return str(found.get(name) or "")
    except (ValueError, AttributeError):
        return ""
