"""Ports of a pod's loopback, reached from here through `kubectl port-forward`.

Each is a process of kubectl's that lives as long as this one, and is started anew when it ended.
"""

from __future__ import annotations

import atexit
import re
import threading
from typing import TYPE_CHECKING

from perdure.errors import HostUnreachable
from perdure.hosts import local
from perdure.hosts.pod_spec import desk_name

if TYPE_CHECKING:
    from perdure.hosts.pod import Pod

_START_S = 30.0
_SAID = re.compile(rb"Forwarding from 127\.0\.0\.1:(\d+) ->")

_guard = threading.Lock()


class _Forward:
    """One of kubectl's processes, and the port of this machine that it has; 0: it has none."""

    def __init__(self, pod: Pod, port: int) -> None:
        words = ("port-forward", "--address=127.0.0.1", f"pod/{desk_name(pod.destination)}")
        argv = pod.kubectl.argv(*words, f":{port}", answer_s=0)
        self._process = local.spawn_piped(argv, feeding=False)
        atexit.register(self._process.kill)
        self.said = ""
        self.port = self._heard()

    def lives(self) -> bool:
        """Return whether it still leads there."""
        return self._process.poll() is None

    def end(self) -> None:
        """End it."""
        atexit.unregister(self._process.kill)
        local.end_piped(self._process, 0.0)

    def _heard(self) -> int:
        process = self._process
        assert process.stdout
        assert process.stderr
        late = threading.Timer(_START_S, process.kill)
        late.start()
        try:
            found = _SAID.search(process.stdout.readline())
        finally:
            late.cancel()
        if found is None:
            process.kill()
            self.said = process.stderr.read().decode("utf-8", "replace").strip()
            return 0
        for pipe in (process.stdout, process.stderr):
            # It says a line for each connection, and stops where nobody reads them.
            threading.Thread(target=_drain, args=(pipe,), daemon=True).start()
        return int(found[1])


_forwards: dict[tuple[str, int], _Forward] = {}


def forwarded_port(pod: Pod, port: int) -> int:
    """Return a port of this machine's loopback that leads to one of the pod's. Starts a process.

    Raises:
        HostUnreachable: the pod, or its cluster, does not answer.
    """
    key = (pod.destination, port)
    with _guard:
        known = _forwards.pop(key, None)
        if known is not None and known.lives():
            _forwards[key] = known
            return known.port
        if known is not None:
            known.end()
        pod.connect()
        made = _Forward(pod, port)
        if not made.port:
            made.end()
            raise HostUnreachable(
                f"port {port} of the pod for `{pod.name}` is not reached: "
                f"{made.said or 'kubectl ended'}",
                hint="try again",
            )
        _forwards[key] = made
        return made.port


def _drain(pipe: object) -> None:
    read = getattr(pipe, "read1", None)
    while read is not None and read(65536):
        pass
