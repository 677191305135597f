"""The clouds by their kinds: dotted names, imported on use, with their SDKs."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import cast

from perdure.clouds.provider import Provider
from perdure.model.settings import CloudSettings

# kind of `[targets.NAME]` -> "module:class"
PROVIDERS: Mapping[str, str] = MappingProxyType(
    {
        "aws": "perdure.clouds.aws_provider:AwsProvider",
        "gcp": "perdure.clouds.gcp_provider:GcpProvider",
        "azure": "perdure.clouds.azure_provider:AzureProvider",
        "sky": "perdure.clouds.sky_provider:SkyProvider",
    }
)


def open_provider(kind: str, wanted: CloudSettings, target: str) -> Provider:
    """Return the cloud of that kind; it asks nobody yet. `target` is what users call it."""
    module, _, name = PROVIDERS[kind].partition(":")
    made = cast(
        Callable[[CloudSettings, str], Provider], getattr(importlib.import_module(module), name)
    )
    return made(wanted, target)
