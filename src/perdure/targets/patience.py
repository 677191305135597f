"""Patience with a host that does not answer: what goes on there is waited for, and so is the host.

For what can be asked twice. A connection that was lost is made again without a person's help, as
often as it takes; whoever waits is told once that it was lost, and once that it is there again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from perdure.errors import HostUnreachable, PerdureError
from perdure.hosts.host import Host
from perdure.model.report import Report

R = TypeVar("R")

AGAIN_S = 1.0


def patiently(
    host: Host,
    report: Report,
    act: Callable[[], R],
    *,
    pause: Callable[[float], None] = time.sleep,
) -> R:
    """Return what `act` returns, done again whenever its host was lost over it.

    There is no limit to that: a laptop may have been asleep. Raises what `act` raises otherwise.
    """
    while True:
        try:
            return act()
        except HostUnreachable:
            report(lost(host.name))
            while not answers(host):
                pause(AGAIN_S)
            report(found(host.name))


def answers(host: Host) -> bool:
    """Return whether a host answers, without asking a person for anything. Asks it."""
    from perdure.hosts.question import answer
    from perdure.hosts.ssh import Ssh

    try:
        return (replace(host, asks=False) if isinstance(host, Ssh) else host).call(answer)
    except PerdureError:
        return False


def lost(name: str) -> str:
    """Return what is said of a host that does not answer while it works for somebody. Pure."""
    return f"`{name}` does not answer; what runs there goes on"


def found(name: str) -> str:
    """Return what is said of it when it does again. Pure."""
    return f"`{name}` answers again"
