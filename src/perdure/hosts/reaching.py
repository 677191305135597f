"""Hosts by what they are reached by: what ssh is given, or all that a pod is made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from perdure.hosts.pod_spec import is_pod

if TYPE_CHECKING:
    from perdure.hosts.pod import Pod
    from perdure.hosts.ssh import Ssh


class Linked(Protocol):
    """A host as a link to it needs it: see `perdure.hosts.link`."""

    @property
    def name(self) -> str:
        """Return what users call it."""

    @property
    def destination(self) -> str:
        """Return what it is reached by."""

    @property
    def asks(self) -> bool:
        """Return whether a person may be asked something meanwhile."""

    def connect(self) -> None:
        """Return once it can be reached.

        Raises:
            HostUnreachable: it cannot.
        """


def reached(name: str, destination: str, *, asks: bool = True) -> Ssh | Pod:
    """Return the host of that destination. Asks nobody."""
    if is_pod(destination):
        from perdure.hosts.pod import Pod

        return Pod(name, destination, asks=asks)
    from perdure.hosts.ssh import Ssh

    return Ssh(name, destination, asks=asks)
