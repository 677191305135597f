"""The numerical libraries that the training has imported itself. Never imports one."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Optional


def torch() -> Optional[ModuleType]:
    """Return torch if the training has imported it."""
    return sys.modules.get("torch")


def numpy() -> Optional[ModuleType]:
    """Return numpy if the training, or something it imported, has imported it."""
    return sys.modules.get("numpy")


def jax() -> Optional[ModuleType]:
    """Return jax if the training has imported it."""
    return sys.modules.get("jax")
