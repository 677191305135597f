"""Why ssh did not reach a host: its words as one clear error, with the next command."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path

from perdure.errors import HostUnreachable
from perdure.hosts.ssh_known import forgetting

_CONFIG = "~/.ssh/config"
_REASONS = (
    (r"Could not resolve hostname|Name or service not known", "there is no host of that name"),
    (r"IDENTIFICATION HAS CHANGED", "its host key is not the one that is known"),
    (r"Host key verification failed|No \S+ host key is known", "its host key is not known"),
    (r"Permission denied|Too many authentication failures", "it does not let this user in"),
    (r"Connection refused", "nothing answers ssh there"),
    (r"timed out|No route to host|Network is unreachable|Host is down", "it does not answer"),
    (r"Connection (?:closed|reset)|Broken pipe", "the connection was lost"),
    (r"Bad configuration option|bad configuration", "ssh does not take the configuration"),
)

_MORE_THAN_A_KEY = re.compile(r"\((?:\S*,)?(?:password|keyboard-interactive)")


def failure(name: str, destination: str, said: str) -> HostUnreachable:
    """Return the error for what ssh said. Reads the user's ssh configuration, by ssh if need be."""
    reason = next((text for pattern, text in _REASONS if re.search(pattern, said)), "")
    last = next((line for line in reversed(said.splitlines()) if line.strip()), "")
    words = reason or last.strip().removeprefix("ssh: ") or "ssh could not connect"
    hint = _hint(reason, destination, said)
    return HostUnreachable(f"cannot reach `{name}` (`ssh {destination}`): {words}", hint=hint)


def refusal(name: str, destination: str, said: str) -> HostUnreachable:
    """Return the error of a host that lets a user in, and then runs nothing for them. Pure."""
    last = (said.splitlines() or [""])[-1].strip()
    return HostUnreachable(
        f"`{name}` (`ssh {destination}`) lets this user in, but runs no command: {last}".rstrip(
            ": "
        ),
        hint=f"ssh {destination} true",
    )


def configured_hosts(config: Path | None = None) -> tuple[str, ...]:
    """Return the names that the user's ssh configuration has an entry for. Reads the disk."""
    file = Path(_CONFIG).expanduser() if config is None else config
    return tuple(dict.fromkeys(_names(file, depth=0)))


def _hint(reason: str, destination: str, said: str) -> str:
    host = destination.rpartition("@")[2]
    if reason.startswith("there is no host"):
        near = difflib.get_close_matches(host, configured_hosts(), 1)
        return f"did you mean `{near[0]}`?" if near else f"ssh {destination}"
    if "not the one that is known" in reason:
        place, command = forgetting(destination, said)
        anew = f"If the host was installed anew ({place})" if place else "If it was installed anew"
        return f"somebody may be listening in between. {anew}: {command}"
    if "not known" in reason:
        return f"ssh {destination}, and compare the key it shows with the host's"
    if "let this user in" in reason and _MORE_THAN_A_KEY.search(said):
        return (
            "it asks for more than a key, and here is no terminal to ask on: log in from one, "
            "which lasts for ten minutes"
        )
    if "let this user in" in reason:
        return f"ssh-copy-id {destination}, or `User` and `IdentityFile` in {_CONFIG}"
    return f"ssh {destination}"


def _names(file: Path, depth: int) -> Iterator[str]:
    try:
        lines = file.read_text(errors="replace").splitlines() if depth < 4 else []
    except OSError:
        return
    for line in lines:
        word, _, rest = line.strip().replace("=", " ", 1).partition(" ")
        if word.lower() == "host":
            yield from (name for name in rest.split() if not set(name) & set("*?!"))
        elif word.lower() == "include":
            for pattern in rest.split():
                found = Path(pattern).expanduser()
                base = found if found.is_absolute() else file.parent / found
                for each in sorted(base.parent.glob(base.name)):
                    yield from _names(each, depth + 1)
