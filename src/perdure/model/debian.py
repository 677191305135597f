"""Debian packages as people ask for them: `git`, or `git=1:2.39.5-0+deb12u2` for one version."""

from __future__ import annotations

import re

STAGES = ("build", "runtime", "dev")

# Debian Policy 5.6.1 and 5.6.12: names, versions.
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(?:=[0-9][A-Za-z0-9.+:~-]*)?")


def listed(text: str) -> tuple[str, ...]:
    """Return what a file lists, one package a line; `#` begins a comment."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return tuple(line for line in lines if line)


def package_problem(text: str) -> str | None:
    """Return why this cannot be a Debian package, None where it can."""
    # To apt-get, a word that ends with `-` is a package to remove.
    if _PACKAGE.fullmatch(text) and not text.endswith("-"):
        return None
    if text.endswith("-") and _PACKAGE.fullmatch(text.rstrip("-")):
        return f"`{text}` would take the package away; did you mean `{text.rstrip('-')}`?"
    lower = text.strip().lower()
    if any(character.isspace() for character in text.strip()):
        return f"`{text}` is more than one word: a package each"
    if text != lower and _PACKAGE.fullmatch(lower):
        return f"`{text}` cannot be a Debian package; did you mean `{lower}`?"
    return (
        f"`{text}` cannot be a Debian package: small letters, digits, `+`, `-` and `.`, "
        "at least two of them, then perhaps `=VERSION`"
    )
