"""The files of an ejection: what builds and runs a project's images without perdure.

They are what perdure itself would build from, but for two things that belong to one machine: uv
comes from the package index, and so do packages that here lie in a folder outside the project.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from perdure.errors import EnvironmentFailed
from perdure.images.context import DOCKERFILE, supervisor_files, texts, wheels
from perdure.images.eject_compose import Composition, Service, compose
from perdure.images.eject_devcontainer import WORKSPACE, devcontainer
from perdure.images.eject_sources import Source, from_indexes
from perdure.images.mounts import CODE, Mount, project_mounts
from perdure.images.recipe import Recipe
from perdure.images.shell import APT_SECRETS, MACHINE, MACHINE_LINES, SECRETS, UV, run
from perdure.images.tag import tag_of
from perdure.model.image import Stage, Tier
from perdure.model.project import Project

KINDS = ("dockerfile", "compose", "devcontainer")
FOLDER = "docker"
COMPOSE = "compose.yaml"
DEVCONTAINER = ".devcontainer/devcontainer.json"

_USER = "perdure"
_TRAIN = "train"
_UV_STAGE = "uv"
_UV_MOUNT = UV.replace(
    "type=bind,source=uv/uv", f"type=bind,from={_UV_STAGE},source=/opt/uv/bin/uv"
)


@dataclass(frozen=True, slots=True)
class Ejection:
    """Files by their path, relative to where they are written: texts, or files to copy.

    `sources` are the packages that are taken from elsewhere than here.
    """

    files: Mapping[str, str | Path]
    sources: tuple[Source, ...] = ()


def eject(project: Project, recipe: Recipe, kind: str, output: Path) -> Ejection:
    """Return the files of an ejection, the same each time. Reads links, writes nothing.

    `output` is the folder that they are for: paths in them are relative to it. The Dockerfile is
    part of each kind.

    Raises:
        EnvironmentFailed: the environment has conda packages, which no Dockerfile could fetch.
    """
    if recipe.conda:
        raise EnvironmentFailed(
            "an environment with conda packages cannot be ejected: perdure installs these, and "
            "nothing in an image could",
            hint="perdure build, and perdure ship the image",
        )
    portable, sources = from_indexes(project, recipe)
    files: dict[str, str | Path] = _context(portable)
    if kind == "compose":
        files[COMPOSE] = compose(_composition(project, recipe, output))
    elif kind == "devcontainer":
        mounts = _seen(project, _around(project, WORKSPACE), writable=True)
        files[DEVCONTAINER] = devcontainer(
            project.name,
            mounts,
            context=f"../{FOLDER}",
            gpus=_has_gpus(recipe),
            user=_USER,
        )
    return Ejection(MappingProxyType(dict(sorted(files.items()))), sources)


def with_uv_from_index(dockerfile: str, recipe: Recipe) -> str:
    """Return a Dockerfile that brings its own uv, in a stage before the first. Pure."""
    comments, first, rest = dockerfile.partition("\nFROM ")
    stage = f"\nFROM {recipe.base.reference} AS {_UV_STAGE}\n{_uv_step(recipe.uv)}\n"
    return comments + stage + (first + rest).replace(UV, _UV_MOUNT)


def _uv_step(version: str) -> str:
    """Return the RUN that installs uv with pip; Debian's pip where the base has no Python."""
    venv = "python3 -m venv /opt/uv"
    apt = "apt-get $options"
    return run(
        [*MACHINE, *APT_SECRETS],
        [
            *MACHINE_LINES,
            f"if [ -s {SECRETS}/apt.conf ]; then export APT_CONFIG={SECRETS}/apt.conf; fi",
            "options='-q -y --no-install-recommends'",
            (
                f'if [ -s {SECRETS}/apt.sources ]; then options="$options '
                f'-o Dir::Etc::sourcelist={SECRETS}/apt.sources -o Dir::Etc::sourceparts=-"; fi'
            ),
            (
                f"{venv} >/dev/null 2>&1 || {{ {apt} update; {apt} install python3-venv "
                f"ca-certificates; rm -rf /opt/uv; {venv}; }}"
            ),
            f"/opt/uv/bin/pip install --quiet --no-cache-dir --no-deps uv=={version}",
        ],
    )


def _context(recipe: Recipe) -> dict[str, str | Path]:
    small = dict(texts(recipe, Stage.DEV))
    small[DOCKERFILE] = with_uv_from_index(small[DOCKERFILE], recipe)
    small |= {name: content.decode() for name, content in supervisor_files().items()}
    files: dict[str, str | Path] = {f"{FOLDER}/{name}": text for name, text in small.items()}
    large = wheels(recipe, Stage.DEV)
    return files | {f"{FOLDER}/{name}": file for name, file in large.items()}


def _composition(project: Project, recipe: Recipe, output: Path) -> Composition:
    above = os.path.relpath(os.path.realpath(project.root), os.path.realpath(output))
    around = _around(project, above if above.startswith(".") else f"./{above}")
    dev = Service(
        "dev",
        Stage.DEV,
        tag_of(recipe, Stage.DEV),
        _seen(project, around, writable=True),
        ("sleep", "infinity"),
        {},
    )
    task = project.tasks.get(_TRAIN) or next(iter(project.tasks.values()), None)
    services = [dev]
    if task is not None:
        mounts = _seen(project, around, writable=False)
        importable = {"PYTHONPATH": f"{CODE}/src:{CODE}"}
        tag = tag_of(recipe, Stage.RUNTIME)
        services.append(Service(_TRAIN, Stage.RUNTIME, tag, mounts, task.command, importable))
    return Composition(
        project.name, recipe.user, tuple(services), f"./{FOLDER}", gpus=_has_gpus(recipe)
    )


@dataclass(frozen=True, slots=True)
class _Around:
    """The project's folder on this machine, and how it is written in the file."""

    root: str
    written: str


def _around(project: Project, written: str) -> _Around:
    return _Around(os.path.realpath(project.root), written)


def _seen(project: Project, around: _Around, *, writable: bool) -> tuple[Mount, ...]:
    """Return what a service sees; the project's own folders relative to the file, others not."""
    mounts: Iterable[Mount] = project_mounts(
        project, code=project.root, code_writable=writable, data_writable=writable
    )
    # Its own path is this machine's, and the working tree has nothing that leads there.
    kept = (mount for mount in mounts if not _is_below(mount.target, around.root))
    return tuple(replace(mount, source=_written(mount.source, around)) for mount in kept)


def _written(source: str, around: _Around) -> str:
    if not _is_below(source, around.root):
        return source
    return f"{around.written}{source.removeprefix(around.root)}"


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root.rstrip('/')}/")


def _has_gpus(recipe: Recipe) -> bool:
    """Return whether the packages are made for GPUs: the variant says so."""
    return (recipe.variant or "").startswith(("cuda", "cu1", "gpu")) and Tier.HEAVY in recipe.tiers
