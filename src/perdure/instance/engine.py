"""A container engine on a machine that is lent: the one that is there, or Docker, installed."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable

from perdure.errors import EnvironmentFailed, PerdureError
from perdure.hosts import local
from perdure.hosts.engine import Engine, find_engine
from perdure.hosts.local import Completed
from perdure.model.settings import Settings

PACKAGE = "docker.io"
# Where the kernel has it on, no container starts without its parser; Docker only recommends that.
_WITH_IT = "apparmor"
_QUIETLY = {"DEBIAN_FRONTEND": "noninteractive"}
# A new machine looks for updates of its own, and holds the lock meanwhile.
_APT = ("apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3")
_UPDATE_S = 300.0
_INSTALL_S = 900.0
_START_S = 60.0
_PAUSE_S = 0.5


def ensure_engine(
    say: Callable[[str], None], pause: Callable[[float], None] = time.sleep
) -> Engine:
    """Return this machine's engine once it answers; Docker is installed where there is none.

    Needs to be root for that. Runs apt and systemctl; touches network and disk.

    Raises:
        EnvironmentFailed: there is none, and it cannot be installed; or it does not answer.
    """
    if shutil.which("docker") is None and shutil.which("podman") is None:
        _install(say)
    try:
        return find_engine(Settings())
    except PerdureError:
        say("starting Docker")
    if shutil.which("systemctl") is not None:
        _run(("systemctl", "start", "docker"), _START_S)
    return _once_it_answers(pause)


def _install(say: Callable[[str], None]) -> None:
    if shutil.which("apt-get") is None:
        raise EnvironmentFailed(
            "this machine has no Docker, and no apt to install it with",
            hint="`image` of the target: one with Docker, or of Debian or Ubuntu",
        )
    say(f"installing {PACKAGE}")
    _run((*_APT, "update"), _UPDATE_S)
    install = ("install", "--yes", "--no-install-recommends", PACKAGE, _WITH_IT)
    done = _run((*_APT, *install), _INSTALL_S)
    if done.returncode != 0:
        raise EnvironmentFailed(
            f"{PACKAGE} cannot be installed: {done.complaint[-300:]}",
            hint="`image` of the target: one with Docker; or let machines reach a mirror",
        )


def _once_it_answers(pause: Callable[[float], None]) -> Engine:
    until = time.monotonic() + _START_S
    while True:
        try:
            return find_engine(Settings())
        except PerdureError as error:
            if time.monotonic() > until:
                raise EnvironmentFailed(
                    f"Docker does not answer on this machine: {error.message}",
                    hint="`image` of the target: one whose Docker starts",
                ) from error
        pause(_PAUSE_S)


def _run(words: tuple[str, ...], timeout_s: float) -> Completed:
    return local.run(words, env={**os.environ, **_QUIETLY}, timeout_s=timeout_s)
