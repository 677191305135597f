"""The folders of a project that a container sees, and where: code, data, results, notebooks.

Links are followed here: a container has the folders it is given and no others, and a link in it
leads where its text says, not where it led on this machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from perdure.errors import UsageError
from perdure.model.project import Project

PROJECT = "/project"
CODE = f"{PROJECT}/code"
DATA = f"{PROJECT}/data"
RESULTS = f"{PROJECT}/results"
NOTEBOOKS = f"{PROJECT}/notebooks"

#: What /dev/shm may hold, in files that are to be the same on every machine: a limit, nothing is
#: set aside. Perdure's own containers get half of the machine's memory.
SHARED_MEMORY = "8g"

MOST_LINKS = 100
#: What an image needs of its own: nothing is mounted over these, nor over a folder above them.
_KEPT = (
    *("/bin", "/boot", "/code", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin"),
    *("/sys", "/tmp", "/usr", "/var"),  # noqa: S108 - a name, not a file
    *("/opt/conda-env", "/opt/dev", "/opt/perdure", "/opt/venv"),
    *(CODE, DATA, RESULTS, NOTEBOOKS),
)


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder or file of this machine, and where a container sees it; both paths are absolute."""

    source: str
    target: str
    read_only: bool


def project_mounts(
    project: Project,
    *,
    code: Path | None,
    code_writable: bool,
    results_writable: bool = True,
    data_writable: bool = False,
) -> tuple[Mount, ...]:
    """Return what of the project a container sees, outer folders before inner ones.

    `code` is the working tree or a snapshot; None where the image carries the code. A folder that
    is not there is left out. Data and results are seen under their own paths of this machine too,
    since the links of a snapshot name these. Reads links, starts nothing.

    Raises:
        UsageError: a link in data leads to a folder that the container needs itself, or there are
            more links than mounts are good for.
    """
    found: list[Mount] = []
    tree = Mount(os.path.realpath(code), CODE, not code_writable) if code else None
    if tree is not None:
        found += [tree, *_folder(Path(tree.source, "notebooks"), NOTEBOOKS, tree.read_only)]
    found += _seen(project.results, RESULTS, tree, not results_writable)
    found += _seen(project.data, DATA, tree, not data_writable)
    found += _links(project, code, found, read_only=not data_writable)
    by_target: dict[str, Mount] = {}
    for mount in found:
        by_target.setdefault(mount.target, mount)
    return tuple(sorted(by_target.values(), key=lambda mount: PurePosixPath(mount.target).parts))


def mount_words(mounts: Iterable[Mount]) -> tuple[str, ...]:
    """Return the words that give a container the mounts: `--mount type=bind,...` each."""
    words: list[str] = []
    for mount in mounts:
        fields = ["type=bind", f"source={mount.source}", f"target={mount.target}"]
        if mount.read_only:
            fields.append("readonly")
        words += ["--mount", ",".join(_csv(field) for field in fields)]
    return tuple(words)


def _csv(field: str) -> str:
    """Return a field of a line of comma-separated values, as RFC 4180 has it."""
    quoted = field.replace('"', '""')
    return f'"{quoted}"' if any(letter in field for letter in ',"\n\r') else field


def _folder(folder: Path, target: str, read_only: bool) -> list[Mount]:
    source = os.path.realpath(folder)
    return [Mount(source, target, read_only)] if Path(source).is_dir() else []


def _seen(folder: Path, target: str, code: Mount | None, read_only: bool) -> list[Mount]:
    """Return the mounts of one of the project's own folders, at every path that leads to it."""
    source = os.path.realpath(folder)
    if not Path(source).is_dir():
        return []
    targets = [target, os.path.normpath(folder.absolute()), source]
    inside = Path(code.source, folder.name) if code else None
    if inside is not None and inside.is_symlink():
        targets.append(_leads(CODE, inside))
    elif code and code.read_only != read_only and os.path.realpath(inside or "") == source:
        targets.append(f"{CODE}/{folder.name}")
    # A folder of the container's own is never hidden: `/project/data` serves in its place.
    kept = [path for path in targets if path == target or not _hides(path)]
    return [Mount(source, path, read_only) for path in kept]


def _links(
    project: Project, code: Path | None, mounts: Iterable[Mount], *, read_only: bool
) -> list[Mount]:
    """Return the mounts that the links at the top of the data need, beside those there are."""
    data = os.path.realpath(project.data)
    leaving = sorted(_leaving(data))
    if len(leaving) > MOST_LINKS:
        raise UsageError(
            f"`{project.data}` holds {len(leaving)} links that lead out of it",
            hint=f"link to the folder they lead to: a container takes {MOST_LINKS} at most",
        )
    views = [DATA, os.path.normpath(project.data.absolute()), data]
    if code is not None and os.path.realpath(code / "data") == data:
        views.append(f"{CODE}/data")
    found: list[Mount] = []
    for link in leaving:
        mount = Mount(os.path.realpath(link), "", read_only)
        targets = dict.fromkeys(_leads(view, link) for view in views)
        found += [
            replace(mount, target=target)
            for target in targets
            if not _is_seen(target, mount.source, mounts, link)
        ]
    return found


def _is_seen(target: str, source: str, mounts: Iterable[Mount], link: Path) -> bool:
    """Return whether a container sees what a link leads to without a mount of its own.

    Raises:
        UsageError: something else is there.
    """
    path = PurePosixPath(target)
    around = [mount for mount in mounts if path.is_relative_to(mount.target)]
    for mount in around:
        # A mount within a mount would have to be made in the folder of this machine.
        if os.path.realpath(mount.source + target.removeprefix(mount.target)) == source:
            return True
    if around or _hides(target):
        raise UsageError(
            f"`{link}` leads to `{target}`, which a container needs for itself",
            hint="link to a folder below it, or move what you need into `data`",
        )
    return False


def _leaving(data: str) -> Iterator[Path]:
    """Yield the links in a folder that lead out of it, to something that is there."""
    if not Path(data).is_dir():
        return
    for entry in Path(data).iterdir():
        if entry.is_symlink() and entry.exists():
            source = os.path.realpath(entry)
            if source != data and not source.startswith(data.rstrip("/") + "/"):
                yield entry


def _leads(view: str, link: Path) -> str:
    """Return where a link leads for whoever sees it in the folder `view`."""
    joined = os.path.normpath(PurePosixPath(view) / link.readlink())
    return f"/{joined.lstrip('/')}"  # two slashes at the beginning are kept by `normpath`


def _hides(target: str) -> bool:
    """Return whether a mount there would hide what a container needs of its own."""
    path = PurePosixPath(target)
    return any(path == kept or path in kept.parents for kept in map(PurePosixPath, _KEPT))
