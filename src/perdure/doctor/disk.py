"""Room on disk, locks on files, the clock of the file system, and Linux's limits for watches."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from perdure.doctor.container import graph_folder
from perdure.doctor.finding import Finding, fine, problem, warning
from perdure.doctor.surroundings import Surroundings

GIB = 1 << 30
#: Less than this is a problem, a warning: an environment with torch takes 1.2 GiB, with CUDA 7.
PROJECT_GIB = (1.0, 10.0)
#: An image with torch takes as much again, and more while it is built.
ENGINE_GIB = (3.0, 20.0)
INODES = 10_000
SKEW_S = 2.0
#: What a project's folder and an editor beside it can come to need.
WATCHES = 65_536
INSTANCES = 128

_INOTIFY = Path("/proc/sys/fs/inotify")
_MOUNTS = Path("/proc/self/mounts")


def room(around: Surroundings) -> Iterator[Finding]:
    """Yield how much room there is for the project, perdure's own files and the engine's images."""
    places: list[tuple[str, Path, tuple[float, float]]] = []
    if around.project:
        places.append(("disk: project", around.project.root, PROJECT_GIB))
        state = around.project.state
        if state.exists() and device(state) != device(around.project.root):
            places.append(("disk: .perdure", state, PROJECT_GIB))
        results = around.project.results
        if results.exists() and device(results) != device(around.project.root):
            places.append(("disk: results", results, PROJECT_GIB))
    else:
        places.append(("disk: here", around.start, PROJECT_GIB))
    graph = graph_folder(around.seen)
    if graph and around.seen.engine and around.seen.engine.is_local() and Path(graph).exists():
        places.append(("disk: engine", Path(graph), ENGINE_GIB))
    for name, folder, limits in places:
        facts = os.statvfs(folder)
        free = facts.f_bavail * facts.f_frsize
        yield judge_room(
            name, f"`{folder}`", free, facts.f_favail if facts.f_files else None, limits
        )


def judge_room(
    name: str, where: str, free: int, inodes: int | None, limits: tuple[float, float]
) -> Finding:
    """Return whether so many free bytes, and files, will do."""
    told = f"{free / GIB:.1f} GiB free in {where}"
    remedy = "perdure clean results, or `docker image prune`" if "engine" in name else ""
    remedy = remedy or "perdure clean results"
    if inodes is not None and inodes < INODES:
        return problem(name, f"{told}, but room for {inodes} more files only", remedy)
    if free < limits[0] * GIB:
        return problem(name, told, f"{remedy}: {limits[0]:g} GiB are needed")
    if free < limits[1] * GIB:
        return warning(name, told, f"{remedy}: {limits[1]:g} GiB are comfortable")
    return fine(name, told)


def locks(around: Surroundings) -> Iterator[Finding]:
    """Yield whether a lock on a file holds where run folders are, and what clock is kept there."""
    folder = around.project.results if around.project else around.start
    folder = folder if folder.is_dir() else around.folder
    if around.project is None and not os.access(folder, os.W_OK):
        return
    kind = file_system(folder, _MOUNTS)
    try:
        with tempfile.TemporaryDirectory(prefix=".perdure-doctor-", dir=folder) as place:
            holds = lock_holds(Path(place) / "lock")
            skew = clock_skew(Path(place) / "clock", time.time)
    except OSError as error:
        said = (error.strerror or str(error)).lower()
        yield problem("file locks", f"`{folder}`: {said}", "make the folder writable for you")
        return
    if holds:
        yield fine("file locks", f"they hold in `{folder}` ({kind})")
    else:
        remedy = "mount it with locks (NFS: without `nolock`), or put the results on another disk"
        yield problem("file locks", f"they do not hold in `{folder}` ({kind})", remedy)
    yield judge_clock(skew, folder)


def judge_clock(skew_s: float, folder: Path) -> Finding:
    """Return whether the clock of a file system is this machine's."""
    if abs(skew_s) <= SKEW_S:
        return fine("clock", "that of the results folder is this machine's")
    told = f"that of `{folder}` is {abs(skew_s):.0f} s {'ahead' if skew_s > 0 else 'behind'}"
    return warning("clock", told, "let this machine and the file server keep time (NTP)")


def lock_holds(file: Path) -> bool:
    """Return whether a second taker of a lock is refused. Writes the file."""
    first = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    second = os.open(file, os.O_RDWR)
    try:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        # ENOLCK, EOPNOTSUPP: this file system has no locks.
        return False
    finally:
        os.close(first)
        os.close(second)
    return False


def clock_skew(file: Path, clock: Callable[[], float]) -> float:
    """Return by how many seconds the file system's clock is ahead. Writes the file."""
    before = clock()
    file.write_bytes(b"now")
    after = clock()
    written = file.stat().st_mtime
    if before <= written <= after:
        return 0.0
    return written - (before if written < before else after)


def file_system(folder: Path, mounts: Path) -> str:
    """Return the type of the file system that holds a folder, such as `ext4`."""
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return "unknown file system"
    best, kind = -1, "unknown file system"
    whole = f"{folder.resolve()}/"
    for line in lines:
        fields = line.split(" ")
        # The kernel writes a space in a path as \040.
        point = fields[1].encode().decode("unicode_escape") if len(fields) > 2 else ""
        if point and whole.startswith(f"{point.rstrip('/')}/") and len(point) >= best:
            best, kind = len(point), fields[2]
    return kind


def watches(_around: Surroundings) -> Iterator[Finding]:
    """Yield Linux's limits for watching files."""
    yield judge_watches(_limit("max_user_watches"), _limit("max_user_instances"))


def judge_watches(most: int | None, instances: int | None) -> Finding:
    """Return whether so many watches, and watchers, will do."""
    if most is None or instances is None:
        return fine("inotify", "this system has none")
    told = f"{most} watches, {instances} instances"
    low = [f"fs.inotify.max_user_watches={8 * WATCHES}"] if most < WATCHES else []
    low += [f"fs.inotify.max_user_instances={8 * INSTANCES}"] if instances < INSTANCES else []
    if low:
        return warning("inotify", told, f"sudo sysctl {' '.join(low)}")
    return fine("inotify", told)


def device(folder: Path) -> int:
    """Return the number of the file system that a folder is on."""
    return folder.stat().st_dev


def _limit(name: str) -> int | None:
    try:
        return int((_INOTIFY / name).read_text())
    except (OSError, ValueError):
        return None
