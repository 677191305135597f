"""What can be the name of an environment variable."""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def is_variable(name: str) -> bool:
    """Return whether every shell and engine passes on a variable of that name (POSIX.1, 8.1)."""
    return _NAME.fullmatch(name) is not None
