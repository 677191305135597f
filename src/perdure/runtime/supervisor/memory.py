"""How often the kernel has killed a process of ours for want of memory: a job's limit, mostly.

Linux counts it for each control group; elsewhere nobody can say, and nobody is told.
"""

from __future__ import annotations

import os

_ROOT = "/sys/fs/cgroup"
_OWN = "/proc/self/cgroup"


def kills(root: str = _ROOT, own: str = _OWN) -> int:
    """Return how often that was, since this machine's or this container's start. Reads /sys."""
    for path in _places(root, own):
        try:
            with open(path, encoding="ascii", errors="replace") as file:
                lines = [line.split() for line in file]
        except OSError:
            continue
        for words in lines:
            if len(words) == 2 and words[0] == "oom_kill" and words[1].isdigit():
                return int(words[1])
    return 0


def _places(root: str, own: str) -> list[str]:
    """Return where the count may stand: version 2 before 1, our own group before a container's."""
    second, first = [""], [""]
    try:
        with open(own, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                number, _, rest = line.rstrip("\n").partition(":")
                kinds, _, path = rest.partition(":")
                if number == "0" and not kinds:
                    second.insert(0, path)
                elif "memory" in kinds.split(","):
                    first.insert(0, path)
    except OSError:
        pass
    return [
        *(os.path.join(root, path.lstrip("/"), "memory.events") for path in second),
        *(os.path.join(root, "memory", path.lstrip("/"), "memory.oom_control") for path in first),
    ]
