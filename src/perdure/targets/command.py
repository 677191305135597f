"""A project's own command, `[project.scripts]`, where the project is not installed."""

from __future__ import annotations

import re
from pathlib import Path

from perdure.project.distribution import call, distribution_of
from perdure.project.find import PROJECT_FILE

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*", re.ASCII)


def command_code(code: Path, word: str) -> str | None:
    """Return the Python that is a command of the project in `code`, None where it has none such.

    Reads its pyproject.toml.

    Raises:
        UsageError: the file is not TOML, or a command in it cannot be made.
    """
    if not _NAME.fullmatch(word):
        return None
    from perdure.project.validate import read_toml

    target = distribution_of(read_toml(code / PROJECT_FILE), code).commands().get(word)
    if target is None:
        return None
    imported, called = call(target)
    return f"import sys; sys.argv[0] = {word!r}; {imported}; sys.exit({called})"
