"""The image of a cluster's job: where its file lies, and the words that run a command in it.

The project's folder is seen in the image under the name that it has on the cluster, so that all
paths of a job mean the same inside and outside. The home is a folder of the project's, and not the
user's own: what is installed there is no part of the image.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from perdure.errors import UsageError
from perdure.images.mounts import Mount, mount_words
from perdure.model.job import ImageUsed, JobRecord

APPTAINER = "apptainer"
#: In a project: its images, each a squashfs file.
FOLDER = ".perdure/images"
_HOME = ".perdure/home"
_HOME_INSIDE = "/home/perdure"
_DIGITS = 12
_LAUNCHER = "enclosed.py"
# Of one that is only explained, and not built yet.
_NO_ID = "ID"
SHELL = ("sh", "-c", "command -v bash >/dev/null && exec bash; exec sh")


def file_name(image: ImageUsed) -> str:
    """Return the name of an image's file: by its tag for people, by its contents for us. Pure."""
    tag = image.tag.rpartition("/")[2].replace(":", "-")
    digest = image.id.rpartition(":")[2][:_DIGITS]
    return f"{tag}-{digest or _NO_ID}.sqfs"


def unneeded(root: str, used: Iterable[ImageUsed]) -> list[Path]:
    """Return the files of other images than those, and of what broke off. Reads the disk."""
    kept = {file_name(image) for image in used}
    found = (Path(root) / FOLDER).rglob("*")
    return [file for file in found if file.is_file() and file.name not in kept]


def ready(root: str, name: str) -> bool:
    """Return whether an image's file is in a project there, whole. Makes the home of its jobs."""
    (Path(root) / _HOME).mkdir(parents=True, exist_ok=True)
    return (Path(root) / FOLDER / name).is_file()


def enclosing(job: JobRecord, root: Path, cwd: Path, main: Path, python: str) -> tuple[str, ...]:
    """Return the words before a command that run it in the job's image; none where it has none.

    `main` is the supervisor's, and `python` what runs that. Reads the links of the data folder.

    Raises:
        UsageError: the project lies in a folder that Apptainer can be given no home in.
    """
    image = job.environment.image
    if image is None:
        return ()
    home = root / _HOME
    if ":" in os.fspath(home):
        raise UsageError(
            f"Apptainer takes no home with `:` in its path, and the project is in `{root}`",
            hint="`root` of the target: a folder without",
        )
    return (
        *(python, "-I", "-S", str(main.parents[1] / _LAUNCHER)),
        *(f"{name}={each}" for name, each in _own(cwd).items() if name not in job.variables),
        *job.variables,
        *(APPTAINER, "--quiet", "exec", "--cleanenv", "--no-eval"),
        *(("--nv",) if job.resources.gpus else ()),
        *("--home", f"{home}:{_HOME_INSIDE}", *mount_words(_seen(root))),
        *("--pwd", str(cwd), str(root / FOLDER / file_name(image))),
    )


def is_enclosed(script: str) -> bool:
    """Return whether a script runs its job in an image. Pure."""
    return f"/{_LAUNCHER}" in script


def _own(cwd: Path) -> Mapping[str, str]:
    # The code comes from outside, as in a container of Docker's.
    return {"PYTHONPATH": f"{cwd / 'src'}{os.pathsep}{cwd}", "PYTHONUNBUFFERED": "1"}


def _seen(root: Path) -> list[Mount]:
    """Return what a job sees of the cluster: the project, and where its links lead."""
    seen = [Mount(os.fspath(root), os.fspath(root), read_only=False)]
    for source, target in _leading(root):
        if not any(f"{target}/".startswith(f"{known.target}/") for known in seen):
            seen.append(Mount(source, target, read_only=False))
    return seen


def _leading(root: Path) -> Iterator[tuple[str, str]]:
    for folder in (root, root / "data", root / "results"):
        real = os.path.realpath(folder)
        yield real, real
    data = root / "data"
    for entry in sorted(data.iterdir()) if data.is_dir() else ():
        if entry.is_symlink() and entry.exists():
            real = os.path.realpath(entry)
            yield real, os.path.normpath(data / entry.readlink())
            yield real, real
