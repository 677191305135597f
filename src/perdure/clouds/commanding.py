"""Roles and buckets made by the provider's own command line, where it has one word for many calls.

What is there already is no error: what is made once is asked for again and again.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from perdure.errors import EnvironmentFailed
from perdure.hosts import local

# A word may be a command: what that says stands in its place.
Command = tuple[str | tuple[str, ...], ...]

_LIMIT_S = 300.0
_THERE = ("already exists", "alreadyexists", "conflict", "already own", "roleassignmentexists")
# Another rule of Azure's, in the way: "conflicts with", and it is not there.
_TAKEN = "cannot have the same priority"
_NONE = (
    "not found",
    "notfound",
    "does not exist",
    "could not be found",
    "unknown service account",
    "no matched assignments",
)
_UNDOING = ("delete", "remove-iam-policy-binding")
_AGAIN = "say it again once that is mended: what is done is not done twice"
# A role of GCP that was deleted keeps its id for 37 days: "Delete a custom role".
_HIDDEN = "in a deleted state"


class Needed(NamedTuple):
    """What whoever submits jobs has to be allowed, and where: `in the project`, say."""

    where: str
    permissions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ByCommands:
    """What an account needs once, by commands; see `Preparation`.

    `needed` are what whoever submits jobs has to be allowed; `left` says, line by line, what
    `teardown` leaves, since other targets may need it, and what would delete that.
    """

    setup: tuple[Command, ...]
    teardown: tuple[Command, ...]
    needed: tuple[Needed, ...]
    left: tuple[str, ...]

    def setup_text(self) -> str:
        """Return the commands that make it, and the permissions. Pure."""
        lines = [text(self.setup)]
        for where, permissions in self.needed:
            lines += ["", f"# what whoever submits jobs has to be allowed {where}:"]
            lines += [f"#   {each}" for each in permissions]
        return "\n".join(lines)

    def teardown_text(self) -> str:
        """Return the commands that undo it. Pure."""
        return "\n".join([text(self.teardown), "", *(f"# {each}" for each in self.left)])

    def set_up(self) -> Iterator[str]:
        """Yield what was made, and what was there already. Starts processes."""
        return run(self.setup)

    def tear_down(self) -> Iterator[str]:
        """Yield what was deleted, what was not there, and what is left. Starts processes."""
        yield from run(self.teardown)
        yield from self.left


def text(commands: Iterable[Command]) -> str:
    """Return commands as a shell takes them. Pure."""
    return "\n".join(" ".join(map(_word, each)) for each in commands)


def run(commands: Iterable[Command]) -> Iterator[str]:
    """Yield what each command did: it was done, or there was nothing to do. Starts processes.

    Raises:
        MissingProgram: the provider's command line is not installed.
        EnvironmentFailed: it refuses.
    """
    for each in commands:
        plain = [word for word in each if isinstance(word, str)]
        what = " ".join(word for word in plain[:5] if not word.startswith("-"))
        yield f"{what}: {_outcome(each, what, bool({*_UNDOING} & {*plain}))}"


def _outcome(command: Command, what: str, undoes: bool) -> str:
    argv: list[str] = []
    for word in command:
        if isinstance(word, str):
            argv.append(word)
            continue
        asked = local.run(word, timeout_s=_LIMIT_S)
        if undoes and asked.returncode != 0 and _says(asked.complaint, _NONE):
            return "there was none"
        if asked.returncode != 0 or not asked.text:
            raise _failed(shlex.join(word[:3]), asked.complaint)
        argv.append(asked.text)
    done = local.run(argv, timeout_s=_LIMIT_S)
    if done.returncode == 0:
        return "done"
    if _says(done.complaint, _THERE) and not _says(done.complaint, (_TAKEN,)):
        return "was there already"
    if undoes and _says(done.complaint, _NONE):
        return "there was none"
    raise _failed(what, done.complaint)


def _says(complaint: str, words: tuple[str, ...]) -> bool:
    return any(word in complaint.lower() for word in words)


def _failed(what: str, complaint: str) -> EnvironmentFailed:
    hint = _AGAIN
    if _HIDDEN in complaint:
        hint = f"`{what.replace(' create ', ' undelete ')}` with the same `--project`; then again"
    return EnvironmentFailed(f"`{what}` failed: {complaint[-300:].strip()}", hint=hint)


def _word(word: str | tuple[str, ...]) -> str:
    return shlex.quote(word) if isinstance(word, str) else f'"$({shlex.join(word)})"'
