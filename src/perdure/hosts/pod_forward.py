"""Ports of a pod's loopback, reached from here through `kubectl port-forward`.

Each is a process of kubectl's that lives as long as this one, and is started anew when it ended.
"""

from __future__ import annotations

import atexit
import re
import threading
from subprocess import Popen
from typing import TYPE_CHECKING

from perdure.errors import HostUnreachable
from perdure.hosts import local
from perdure.hosts.pod_spec import desk_name

if TYPE_CHECKING:
    from perdure.hosts.pod import Pod

_START_S = 30.0
_END_S = 2.0
_SAID = re.compile(rb"Forwarding from 127\.0\.0\.1:(\d+) ->")

_processes: dict[tuple[str, int], tuple[Popen[bytes], int]] = {}
_guard = threading.Lock()


def forwarded_port(pod: Pod, port: int) -> int:
    """Return a port of this machine's loopback that leads to one of the pod's. Starts a process.

    Raises:
        HostUnreachable: the pod, or its cluster, does not answer.
    """
    key = (pod.destination, port)
    with _guard:
        known = _processes.pop(key, None)
        if known is not None and known[0].poll() is None:
            _processes[key] = known
            return known[1]
        if known is not None:
            local.end_piped(known[0], 0.0)
        pod.connect()
        process, mine = _start(pod, port)
        _processes[key] = (process, mine)
        return mine


def _start(pod: Pod, port: int) -> tuple[Popen[bytes], int]:
    words = ("port-forward", "--address=127.0.0.1", f"pod/{desk_name(pod.destination)}")
    process = local.spawn_piped(pod.kubectl.argv(*words, f":{port}", answer_s=0), feeding=False)
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
        said = process.stderr.read().decode("utf-8", "replace").strip()
        local.end_piped(process, _END_S)
        raise HostUnreachable(
            f"port {port} of the pod for `{pod.name}` is not reached: {said or 'kubectl ended'}",
            hint="try again",
        )
    for pipe in (process.stdout, process.stderr):
        # It says a line for each connection, and stops where nobody reads them.
        threading.Thread(target=_drain, args=(pipe,), daemon=True).start()
    atexit.register(process.kill)
    return process, int(found[1])


def _drain(pipe: object) -> None:
    read = getattr(pipe, "read1", None)
    while read is not None and read(65536):
        pass
