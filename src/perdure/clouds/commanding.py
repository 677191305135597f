"""Roles and buckets made by the provider's own command line, where it has one word for many calls.

What is there already is no error: what is made once is asked for again and again.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from perdure.errors import EnvironmentFailed
from perdure.hosts import local

# A word may be a command: what that says stands in its place.
Command = tuple[str | tuple[str, ...], ...]

_LIMIT_S = 300.0
_THERE = ("already exists", "alreadyexists", "conflict", "already own", "roleassignmentexists")
_NONE = ("not found", "notfound", "does not exist", "could not be found", "unknown service account")


@dataclass(frozen=True, slots=True)
class ByCommands:
    """What an account needs once, by commands; see `Preparation`.

    `permissions` are what whoever submits jobs has to be allowed, `where` says in what.
    """

    setup: tuple[Command, ...]
    teardown: tuple[Command, ...]
    where: str
    permissions: tuple[str, ...]

    def setup_text(self) -> str:
        """Return the commands that make it, and the permissions. Pure."""
        asked = f"# what whoever submits jobs has to be allowed {self.where}:"
        return "\n".join([text(self.setup), "", asked, *(f"#   {x}" for x in self.permissions)])

    def teardown_text(self) -> str:
        """Return the commands that undo it. Pure."""
        return text(self.teardown)

    def set_up(self) -> Iterator[str]:
        """Yield what was made, and what was there already. Starts processes."""
        return run(self.setup)

    def tear_down(self) -> Iterator[str]:
        """Yield what was deleted, and what was not there. Starts processes."""
        return run(self.teardown)


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
        argv = [word if isinstance(word, str) else _said(word) for word in each]
        done = local.run(argv, timeout_s=_LIMIT_S)
        lowered = done.complaint.lower()
        what = " ".join(word for word in argv[:5] if not word.startswith("-"))
        if done.returncode == 0:
            yield f"{what}: done"
        elif any(word in lowered for word in _THERE):
            yield f"{what}: was there already"
        elif any(word in lowered for word in _NONE) and "delete" in argv:
            yield f"{what}: there was none"
        else:
            raise EnvironmentFailed(
                f"`{what}` failed: {done.complaint[-300:].strip()}",
                hint="say it again once that is mended: what is done is not done twice",
            )


def _word(word: str | tuple[str, ...]) -> str:
    return shlex.quote(word) if isinstance(word, str) else f'"$({shlex.join(word)})"'


def _said(command: tuple[str, ...]) -> str:
    done = local.run(command, timeout_s=_LIMIT_S)
    if done.returncode != 0 or not done.text:
        raise EnvironmentFailed(f"`{shlex.join(command[:3])}` failed: {done.complaint[-300:]}")
    return done.text
