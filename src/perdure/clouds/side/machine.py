"""The machine that this is, of whatever provider: its name there, and the end of its group."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from perdure.clouds.side import signing, tokens
from perdure.clouds.side.aws import Aws
from perdure.clouds.side.azure import Azure
from perdure.clouds.side.gcp import Gcp
from perdure.clouds.side.order import Config
from perdure.clouds.side.sky import Sky

# Where metadata services usually are.
METADATA: Mapping[str, str] = MappingProxyType(
    {"aws": signing.METADATA, "gcp": tokens.LINK_LOCAL, "azure": tokens.LINK_LOCAL}
)


class Machine(Protocol):
    """The provider's side of a machine."""

    @property
    def watched(self) -> str:
        """Return whose metadata service gives notice here, "" for none."""

    def identity(self) -> str:
        """Return what the provider calls this machine."""

    def kind(self) -> str:
        """Return the type of this machine, as the provider names it."""

    def address(self) -> str:
        """Return where this machine is reached: from outside, where it is."""

    def settle(self) -> None:
        """Have no machine follow this one."""


def machine_of(config: Config) -> Machine:
    """Return the machine that a config is for; it asks nobody yet."""
    if config.cloud == "sky":
        return Sky()
    if config.cloud == "gcp":
        return Gcp(config.owner, config.region, config.group)
    if config.cloud == "azure":
        return Azure(config.owner, config.group)
    return Aws(config.region, config.group)


def metadata_base(cloud: str) -> str:
    """Return where a cloud's metadata service is, as the provider's own libraries find it."""
    if cloud == "gcp":
        other = os.environ.get("GCE_METADATA_HOST")
        return f"http://{other}" if other else METADATA[cloud]
    names = {
        "aws": "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        "azure": "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    }
    return os.environ.get(names[cloud], METADATA[cloud])
