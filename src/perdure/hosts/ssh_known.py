"""By what name ssh knows the key of a host, and how it is made to forget one."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from perdure.errors import MissingProgram, TimeoutExpired

_DEFAULT = "~/.ssh/known_hosts"
_SSH_PORT = "22"
_ASK_S = 10.0
# What ssh says of a key that has changed. The name is the one in the file, be it that of a host on
# the way there.
_NAMED = re.compile(r"^Host key for (\S+) has changed", re.MULTILINE)
_PLACE = re.compile(r"^Offending .* in (.+):(\d+)\s*$", re.MULTILINE)


def forgetting(destination: str, said: str) -> tuple[str, str]:
    """Return where the key lies that is another one by now, "" if ssh did not say, and the command.

    `said` is what ssh said when it refused. Asks ssh for its configuration if that has no name.
    """
    named, place = _NAMED.search(said), _PLACE.search(said)
    name = named.group(1) if named else known_as(destination)
    words = ["ssh-keygen", "-R", name]
    if place is None:
        return "", shlex.join(words)
    file, line = place.groups()
    if Path(file) != Path(_DEFAULT).expanduser():
        words += ["-f", file]
    return f"{file}, line {line}", shlex.join(words)


def known_as(destination: str) -> str:
    """Return the name that the key of a host has in known_hosts (ssh_config(5), sshd(8)).

    Runs `ssh -G`; where that says nothing, it is the destination's own.
    """
    from perdure.hosts import local

    try:
        done = local.run(("ssh", "-G", "--", destination), timeout_s=_ASK_S)
    except (MissingProgram, TimeoutExpired):
        return destination.rpartition("@")[2]
    return name_of(done.text, destination)


def name_of(configuration: str, destination: str) -> str:
    """Return the name by what `ssh -G` told: the alias of the key, else the host and its port."""
    found = {key: value for key, _, value in (x.partition(" ") for x in configuration.splitlines())}
    if "hostkeyalias" in found:
        return found["hostkeyalias"]
    name = found.get("hostname", destination.rpartition("@")[2])
    port = found.get("port", _SSH_PORT)
    return name if port == _SSH_PORT else f"[{name}]:{port}"
