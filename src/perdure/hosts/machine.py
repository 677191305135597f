"""What this machine is: name, system, processor, memory, GPUs, and when it last started."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from perdure.errors import PerdureError
from perdure.model.job import Machine

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_CPUINFO = Path("/proc/cpuinfo")
_ASK_S = 5.0


def this_machine() -> Machine:
    """Return what this machine is. Asks `nvidia-smi`, where there is one, for up to 5 s."""
    import platform
    import socket

    system = platform.uname()
    return Machine(
        host=socket.gethostname(),
        os=f"{system.system} {system.release}",
        cpu=_cpu() or system.machine,
        cores=_cores(),
        memory_gib=_memory_gib(),
        gpus=_gpus(),
        boot=boot_id(),
    )


def boot_id() -> str:
    """Return what changes when this machine restarts, "" where it does not say."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return _ask("sysctl", "-n", "kern.boottime")


def _cpu() -> str:
    try:
        lines = _CPUINFO.read_text(errors="replace").splitlines()
    except OSError:
        return _ask("sysctl", "-n", "machdep.cpu.brand_string")
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "")


def _cores() -> int:
    """Return how many cores this process may use: a container or a batch system may give fewer."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_gib() -> float:
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    except (OSError, ValueError):
        return 0.0


def _gpus() -> tuple[str, ...]:
    names = _ask("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")
    return tuple(line.strip() for line in names.splitlines() if line.strip())


def _ask(program: str, *arguments: str) -> str:
    """Return what a program says of the machine, "" where it is missing, fails or hangs."""
    # Here, not above: the start of this boot is asked for at each `ps`, from a file.
    from perdure.hosts.local import run

    path = shutil.which(program)
    if path is None:
        return ""
    try:
        answer = run([path, *arguments], timeout_s=_ASK_S)
    except PerdureError:
        return ""
    return answer.text if answer.returncode == 0 else ""
