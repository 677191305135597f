"""The container engine of another host, reached through a socket of this machine.

The client is this machine's: it speaks to the socket as to an engine of its own, so nothing but
the engine is needed there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from perdure.errors import EngineUnreachable, NoPython
from perdure.hosts.engine_client import UNIX
from perdure.hosts.host import Host
from perdure.hosts.side.sockets import find_socket
from perdure.hosts.ssh import Ssh
from perdure.hosts.within import find_socket_plainly
from perdure.model.settings import Settings


@dataclass(frozen=True, slots=True)
class EngineThere:
    """Where an engine of another host is reached from here, and who asks for it there."""

    endpoint: str
    user_id: int
    group_id: int


def engine_there(host: Host) -> EngineThere:
    """Return the host's engine.

    Raises:
        EngineUnreachable: it has none, or none for this user.
        HostUnreachable: the host does not answer.
    """
    try:
        found = host.call(find_socket)
    except NoPython:
        assert isinstance(host, Ssh)  # what has no Python
        found = find_socket_plainly(host)
    if found["path"] is None:
        raise EngineUnreachable(
            f"there is no container engine on `{host.name}`",
            hint=f'install Docker there, or `engine = "process"` under `[targets.{host.name}]`',
        )
    if found["problem"] is not None:
        raise EngineUnreachable(
            f"the container engine of `{host.name}` at `{found['path']}`: {found['problem']}",
            hint="there: sudo usermod -aG docker $USER; then log in anew: "
            f"perdure targets --disconnect {host.name}"
            if "denied" in found["problem"]
            else "there: sudo systemctl start docker",
        )
    endpoint = f"{UNIX}{host.forward_socket(found['path'])}"
    return EngineThere(endpoint, found["user"], found["group"])


def settings_there(settings: Settings, there: EngineThere) -> Settings:
    """Return the settings with which an engine of another host is used from here. Pure.

    Containers run as who asks for them there, unless the user's settings name somebody; root's
    place there is taken by who asks here, or by the owner of the project.
    """
    docker = settings.docker
    user_id = docker.user_id if docker.user_id is not None else there.user_id or None
    group_id = docker.group_id if docker.group_id is not None else there.group_id or None
    chosen = replace(docker, endpoint=there.endpoint, user_id=user_id, group_id=group_id)
    return replace(settings, docker=chosen)
