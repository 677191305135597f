"""What is started on a host and goes on when the connection is gone.

Where the host has no Python of its own, this process is in a container that ends with the
connection: then it is started in another one of the same kind, by the words of this one.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from perdure.errors import EnvironmentFailed
from perdure.hosts import local

# The words by which a container of this kind is run, as JSON: see `perdure.hosts.within`.
LENT = "PERDURE_LENT"
_START_S = 120.0
# Told where its output belongs, and become what is to be run.
_BECOME = 'exec "$@" >>"$0" 2>&1 </dev/null'
_POLL_S = 0.05


def is_lent(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether this process is in a container that ends with the connection."""
    return LENT in environ


def spawn_outliving(
    argv: Sequence[str], *, env: Mapping[str, str], cwd: str | os.PathLike[str], log: Path
) -> Running:
    """Return a command that survives this process and the connection. Starts processes.

    It reads nothing, and appends what it says to `log`.

    Raises:
        EnvironmentFailed: the engine does not start its container.
    """
    if not is_lent():
        return Running(local.spawn_detached(argv, env=env, cwd=cwd, log=log))
    words = outliving_words(json.loads(os.environ[LENT]), argv, env, os.fspath(cwd), log)
    done = local.run(words, env={**os.environ, **env}, timeout_s=_START_S)
    if done.returncode != 0:
        said = done.complaint.rpartition("\n")[2]
        raise EnvironmentFailed("the engine does not lend a container to run in", hint=said)
    return Running(_pid(words[0], done.text), own=False)


def outliving_words(
    lent: Sequence[str], argv: Sequence[str], env: Mapping[str, str], cwd: str, log: Path
) -> list[str]:
    """Return the words that run a command in a container of its own. Pure but for this process's.

    Values of variables are the client's own to pass on: they are in no list of processes.
    """
    client, run, *options, _, image = lent
    told = sorted(name for name in env if os.environ.get(name) != env[name])
    options = [each for each in options if not each.startswith(("--interactive", "--workdir"))]
    return [
        *(client, run, "--detach", f"--workdir={cwd}", *options),
        *(f"--env={name}" for name in told),
        *("--entrypoint=sh", image, "-c", _BECOME, os.fspath(log), *argv),
    ]


class Running:
    """A command that was started: `own` is whether it is a child of this process."""

    def __init__(self, pid: int, *, own: bool = True) -> None:
        self.pid = pid
        self._own = own

    def is_over(self) -> bool:
        """Return whether it has ended."""
        if self._own:
            return local.exit_code_of(self.pid) is not None
        return not (self.pid and Path(f"/proc/{self.pid}").exists())

    def kill(self) -> None:
        """End it, with its group."""
        if self.pid:
            local.kill_group(self.pid)


def _pid(client: str, container: str) -> int:
    """Return the process that is first in a container; one that has ended already has none."""
    words = [client, "container", "inspect", "--format", "{{.State.Pid}}", container]
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        done = local.run(words, timeout_s=_START_S)
        if done.returncode != 0:
            return 0  # it has ended, and is removed
        if done.text != "0":
            return int(done.text)
        time.sleep(_POLL_S)
    return 0
