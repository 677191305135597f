"""The names of files that are not in their place: while they are written, and while they change.

A session that is killed leaves them behind. A draft without a digest is a part of a file that will
be sent again. One that is about to change places with a file has the digest of its contents in its
name: if what lies there later has another one, it is what was displaced, and is somebody's work.
"""

from __future__ import annotations

import os
from typing import NamedTuple, Optional

# How a name begins that nobody takes for code.
DRAFT = ".perdure-sync-"
_LONGEST = 120
# No digest: whatever lies there is to be kept.
WORK = "work"


class Leftover(NamedTuple):
    """What a draft's name says: whose it is, and what it was to be."""

    mark: str
    digest: Optional[str]
    name: str


def writing(mark: str, number: int) -> str:
    """Return a name for a file that is being written. Pure."""
    return "%s%s-%d" % (DRAFT, mark, number)


def changing(temporary: str, digest: str, name: str) -> str:
    """Return a name for a file that changes places with the one called `name`. Pure."""
    return "%s-%s-%s" % (temporary, digest, os.fsdecode(os.fsencode(name)[:_LONGEST]))


def leftover(name: str) -> Leftover:
    """Return what the name of a draft says. Pure."""
    parts = name[len(DRAFT) :].split("-", 3)
    if len(parts) < 4:
        return Leftover(parts[0], None, name)
    return Leftover(parts[0], parts[2], parts[3])
