"""What a build by podman needs beside one by BuildKit: its builder is buildah.

It knows the same mounts and secrets, and takes the same Dockerfile. Two things it does otherwise.
A step whose mounts have other contents than before is not done again, as it looks at the text of
the step alone; so the text says what the contents are. And it tells of its steps in another way,
on standard output.

Source: buildah 1.28, as in podman 4.3.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from perdure.images.dockerfile import Section
from perdure.images.recipe import file_digest

#: All that is told goes where what BuildKit tells goes; this machine's podman opens it.
WORDS = ("--logfile=/dev/stderr",)

_BOUND = re.compile(r"--mount=type=bind,source=([^,\s]+),target=")
_OF_STAGE = "--mount=type=bind,from="
_RUN = "\nRUN "
_BEGINS = "set -eu;"
_STEP = re.compile(r"(?:\[(\d+)/\d+\] )?STEP (\d+)/\d+: ")
_CACHED = "--> Using cache"
_COMMIT = re.compile(r"(?:\[\d+/\d+\] )?COMMIT\b")
_FAILED = re.compile(r"Error: building at STEP ")


def own_folder(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variable that has buildah keep what steps cache in a folder of the user's own.

    Below /var/tmp it has one folder for all users of a machine, whom the first of them locks out.
    Makes the folder.
    """
    home = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME") or "/") / ".cache")
    folder = Path(home, "perdure", "buildah")
    if environ.get("TMPDIR"):
        return {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return {}
    return {"TMPDIR": str(folder)}


def name_contents(dockerfile: Path) -> None:
    """Have each step of a staged Dockerfile name the contents of what it mounts from its folder.

    Reads the files. `--mount=...,source=light.txt` alone says nothing of what is in light.txt.
    """
    steps = dockerfile.read_text(encoding="utf-8").split(_RUN)
    named = steps[0]
    for step in steps[1:]:
        named += _RUN + _named(step, dockerfile.parent, before=named)
    dockerfile.write_text(named, encoding="utf-8")


def as_buildkit(sections: Iterable[Section], told: Callable[[str], None]) -> Callable[[str], None]:
    """Return what takes buildah's lines and tells them as BuildKit would have.

    Buildah counts every instruction of a stage, BuildKit those that do something.
    """
    known = {
        (str(place), str(2 + section.instructions.index(instruction))): f"{section.name} {number}"
        for place, section in enumerate(sections, 1)
        for number, instruction in section.numbered()
    }
    now = "0"

    def take(line: str) -> None:
        nonlocal now
        started = _STEP.match(line)
        if started:
            stage, number = started[1] or "1", started[2]
            now = f"{stage}{int(number):03}"
            told(f"#{now} [{known.get((stage, number), 'none 0')}/0] ")
        elif line.startswith(_CACHED):
            told(f"#{now} CACHED")
        elif _FAILED.match(line):
            told(f"#{now} ERROR: {line}")
        elif _COMMIT.match(line):
            told(f"#{now} exporting to image")
        else:
            told(f"#{now} 0.0 {line}")

    return take


def _named(step: str, folder: Path, *, before: str) -> str:
    """Return a step with the digest of what its mounts hold, as a word that nothing reads."""
    digest = hashlib.sha256()
    sources = _BOUND.findall(step)
    for source in sources:
        for line in _contents(folder / source):
            digest.update(os.fsencode(line) + b"\0")
    if _OF_STAGE in step:
        # What another stage makes follows from its text.
        digest.update(before.encode())
    elif not sources:
        return step
    return step.replace(_BEGINS, f"{_BEGINS} : {digest.hexdigest()[:32]};", 1)


def _contents(path: Path) -> Iterable[str]:
    if not path.is_dir():
        yield file_digest(path)
        return
    for at, folders, files in os.walk(path):
        folders.sort()
        for name in sorted([*files, *(each for each in folders if Path(at, each).is_symlink())]):
            file = Path(at, name)
            inside, mode = file.relative_to(path).as_posix(), file.lstat().st_mode
            what = os.readlink(file) if file.is_symlink() else file_digest(file)  # noqa: PTH115
            yield f"{inside} {mode:o} {what}"
