"""The folder that an image is built in: texts, wheels, uv, the supervisor; the code if pegged.

It stays where it is from build to build, and a file whose contents are right is left alone: an
engine asks for what has changed, and a wheel of 200 MB is not sent to it twice. What has changed it
tells by sizes and times, never by contents: so no file may have another's time. A text has the time
at which it was written, a file of the code one that is made from its contents.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import perdure
from perdure.environments.uv import unwritable
from perdure.errors import EnvironmentFailed, StorageError
from perdure.images import debian
from perdure.images.dockerfile import render
from perdure.images.installed import installed_files
from perdure.images.layers import conda_folder
from perdure.images.recipe import Recipe, file_digest
from perdure.images.requirements import PIP, groups, sources_of
from perdure.images.shell import EPOCH
from perdure.images.uv_binary import uv_for
from perdure.model.image import Requirement, Stage, Tier
from perdure.model.report import Report, silent

DOCKERFILE = "Dockerfile"
CODE = "code"
_LINKED = {"data": "/project/data", "results": "/project/results"}


def texts(recipe: Recipe, stage: Stage, *, pegged: bool = False) -> Mapping[str, str]:
    """Return the small files of the context by name, the Dockerfile among them. Pure."""
    found = {DOCKERFILE: render(recipe, stage, pegged=pegged), "pip.txt": PIP}
    found |= installed_files(recipe.itself)
    for name, content in _requirements(recipe, stage):
        found |= {group.file: group.text() for group in groups(name, content)}
    for name in ("build", "runtime", *(["dev"] if stage is Stage.DEV else [])):
        packages = recipe.apt.get(name, ())
        if packages:
            found[f"apt-{name}.txt"] = debian.wanted(packages)
            found[f"apt-{name}.sha256"] = debian.checksums(packages)
    return found


def wheels(recipe: Recipe, stage: Stage) -> Mapping[str, Path]:
    """Return the files of this machine that are installed, by their place in the context."""
    return {
        f"wheels/{name}/{each.file.name}": each.file
        for name, content in _requirements(recipe, stage)
        for each in content
        if each.file is not None and each.has_wheel is not name.startswith("sources")
    }


def supervisor_files() -> Mapping[str, bytes]:
    """Return the sources that a job's supervisor runs from, by their place in the context."""
    package = Path(perdure.__file__).parent
    files = [package / "__init__.py", *sorted((package / "runtime").rglob("*.py"))]
    return {
        f"supervisor/perdure/{file.relative_to(package).as_posix()}": file.read_bytes()
        for file in files
    }


def stage_context(
    recipe: Recipe,
    stage: Stage,
    folder: Path,
    code: Path | None = None,
    *,
    report: Report = silent,
) -> None:
    """Make the folder hold what the image is built from, and nothing else.

    Conda packages are fetched where the recipe has any, and uv where this machine's is for another
    kind of machine than the image.

    Raises:
        EnvironmentFailed: a wheel is not where uv.lock says.
        StorageError: the folder cannot be written.
    """
    small = {name: text.encode() for name, text in texts(recipe, stage, pegged=bool(code)).items()}
    small |= supervisor_files()
    large = wheels(recipe, stage)
    _refuse_missing(recipe, stage)
    uv = uv_for(recipe.platform, recipe.uv, report)
    try:
        _clear(folder, {*small, *large, "uv/uv"}, conda_folder(recipe.conda))
        for name, content in small.items():
            _write(folder / name, content)
        for name, file in large.items():
            _bring(file, folder / name, 0o644)
        _bring(uv, folder / "uv" / "uv", 0o755)
        if code is not None:
            _copy_code(code, folder / CODE)
    except OSError as error:
        raise unwritable(folder, error) from error
    if recipe.conda:
        from perdure.environments.conda.install import stage_conda

        stage_conda(recipe.conda, folder / conda_folder(recipe.conda), report=report)


def code_files(code: Path) -> Iterator[tuple[str, str]]:
    """Yield the path of each file of a snapshot, with a digest of its kind and contents, sorted."""
    for at, folders, files in os.walk(code):
        folders.sort()
        for name in sorted([*files, *(each for each in folders if Path(at, each).is_symlink())]):
            path = Path(at, name)
            inside = path.relative_to(code).as_posix()
            if path.is_symlink():
                yield inside, f"l:{_LINKED.get(inside) or os.readlink(path)}"  # noqa: PTH115
            else:
                kind = "x" if path.stat().st_mode & 0o100 else "-"
                yield inside, f"{kind}:{file_digest(path)}"


def listed_files(files: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return what `code_files` would say of a snapshot of these files, with kind and contents."""
    links = ((name, f"l:{place}") for name, place in _LINKED.items())
    return (*files, *links)


def _requirements(recipe: Recipe, stage: Stage) -> Iterator[tuple[str, tuple[Requirement, ...]]]:
    for tier in Tier:
        content = recipe.tiers.get(tier, ())
        yield tier.value, content
        yield f"sources-{tier.value}", sources_of(content)
    if stage is Stage.DEV:
        yield "dev", recipe.development


def _refuse_missing(recipe: Recipe, stage: Stage) -> None:
    missing = [file for file in wheels(recipe, stage).values() if not file.is_file()]
    if missing:
        raise EnvironmentFailed(
            "uv.lock names wheels that are not on this machine: "
            + ", ".join(f"`{file}`" for file in missing),
            hint="perdure lock --again",
        )


def _clear(folder: Path, wanted: set[str], conda: str) -> None:
    """Remove what an earlier image was built from and this one is not."""
    if (folder / CODE).is_dir():
        _remove(folder / CODE)
    for at, folders, files in os.walk(folder):
        if Path(at) == folder:
            folders[:] = [name for name in folders if name != conda]
        for name in files:
            path = Path(at, name)
            if path.relative_to(folder).as_posix() not in wanted:
                path.unlink()
    for at, folders, _ in os.walk(folder, topdown=False):
        for name in folders:
            with contextlib.suppress(OSError):
                Path(at, name).rmdir()


def _remove(folder: Path) -> None:
    """Remove a copy of a snapshot, whose folders are read-only."""
    for at, _, _ in os.walk(folder):
        Path(at).chmod(0o755)
    shutil.rmtree(folder)


def _write(file: Path, content: bytes) -> None:
    with contextlib.suppress(OSError):
        if file.read_bytes() == content:
            return
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    file.write_bytes(content)
    file.chmod(0o644)


def _bring(source: Path, target: Path, mode: int) -> None:
    """Have the file in the context: a hard link where that can be, else a copy."""
    here = source.stat()
    with contextlib.suppress(OSError):
        there = target.stat()
        # A copy is as old as its source, and a link is its source.
        if (there.st_size, there.st_mtime_ns) == (here.st_size, here.st_mtime_ns):
            return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        if here.st_mode & 0o777 != mode:
            raise StorageError("its mode is not ours to change")
        target.hardlink_to(source)
    except (OSError, StorageError):
        shutil.copyfile(source, target)
        target.chmod(mode)
        os.utime(target, ns=(here.st_mtime_ns, here.st_mtime_ns))


def _copy_code(code: Path, target: Path) -> None:
    """Copy a snapshot; its links to the project's data and results lead to the container's own."""
    shutil.copytree(code, target, symlinks=True, copy_function=_copied)
    for at, _, _ in os.walk(target):
        Path(at).chmod(0o755)
    for name, place in _LINKED.items():
        (target / name).unlink(missing_ok=True)
        (target / name).symlink_to(place)


def _copied(source: str, target: str) -> str:
    """Copy a file of the code, with a time that another content would not have."""
    shutil.copyfile(source, target)
    Path(target).chmod(Path(source).stat().st_mode & 0o777 | 0o200)
    moment_ns = EPOCH * 10**9 + int(file_digest(Path(source))[:14], 16)
    os.utime(target, ns=(moment_ns, moment_ns))
    return target
