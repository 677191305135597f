"""A job in a container of a machine that is lent: its image from the bucket, its command line."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from perdure.clouds.images import write_archive
from perdure.clouds.side import layers
from perdure.clouds.side.bucket import Bucket
from perdure.clouds.side.layers import Packed
from perdure.errors import PerdureError, StorageError
from perdure.hosts import piped
from perdure.hosts.engine import Engine, find_engine
from perdure.images.archive import writing
from perdure.images.mounts import CODE, RESULTS
from perdure.images.ship_image import ImageRecord, find_image
from perdure.images.ship_stream import END_S, STALL_S, Fed, failure
from perdure.model.job_values import job_of
from perdure.model.project import Project
from perdure.model.settings import Settings
from perdure.targets import invocation, supervision
from perdure.targets.container import half_of_memory
from perdure.targets.invocation import Setting, container_name
from perdure.targets.leftover import remove
from perdure.targets.protocol import Plan
from perdure.targets.view import hand_over, mounts_of

_FOLDER = ".perdure/layers"


def bring_image(
    bucket: Bucket,
    root: Path,
    known: str,
    find: Callable[[], Engine],
    say: Callable[[str], None],
) -> tuple[Engine, str]:
    """Return this machine's engine, and what it calls the image of that id, which it has then.

    `find` returns the engine, which may be installed meanwhile; layers are brought below `root`,
    and go once they are loaded. Touches network and disk.

    Raises:
        StorageError: the image is not in the bucket, or is damaged there.
        EnvironmentFailed: there is no engine, or it does not take the image.
    """
    packed = layers.find(bucket, known)
    if packed is None:
        hint = "perdure resume: what is missing is sent again"
        raise StorageError(f"the bucket lacks the image `{known}`", hint=hint)
    had = _had(packed)
    if had is not None:
        return had
    size = sum({each.digest: each.size for each in packed.layers}.values())
    say(f"fetching the image: {len(packed.layers)} layers, {size} bytes")
    folder = root / _FOLDER
    try:
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(find)
            layers.fetch(bucket, packed, folder)
            engine = waiting.result()
        say(f"loading the image as `{packed.name}`")
        return engine, _load(engine, packed, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def planned(root: Path, engine: Engine, values: Mapping[str, Any]) -> Plan:
    """Return the command line of a job's container, whose run folder is made its user's.

    What a machine before has left of that name is removed. Touches disk and engine.
    """
    job = job_of(values)
    options = supervision.supervisor_options(job, f"{RESULTS}/{job.job}", CODE)
    project = Project(root, root.name, "", {})
    owner = invocation.owner_of(job)
    rootless = os.geteuid() != 0
    setting = Setting(root, engine.program, engine.kind, half_of_memory(), (), rootless, lent=True)
    argv = invocation.supervised(setting, job, mounts_of(project, job), options)
    end(engine, root, job.job)
    hand_over(job.folder, owner)
    passed = invocation.passed_by_name(job.variables)
    return Plan(job.job, job.folder, Path(CODE), argv, passed, job.argv, owner)


def end(engine: Engine, root: Path, job: str) -> None:
    """End a job's container, whatever it is at; none is right too."""
    remove(engine, container_name(root, job))


def with_image(values: Mapping[str, Any], called: str) -> dict[str, Any]:
    """Return a job's values with its image as this machine's engine calls it. Pure."""
    used = values["environment"]
    return {**values, "environment": {**used, "image": {**used["image"], "id": called}}}


def _had(packed: Packed) -> tuple[Engine, str] | None:
    """Return the engine if there is one and it has the image: this is not the machine's first turn.

    Or the machine was made of an image that has it.
    """
    try:
        engine = find_engine(Settings())
        found = _loaded(engine, packed)
    except PerdureError:
        return None
    return None if found is None else (engine, found.id)


def _load(engine: Engine, packed: Packed, folder: Path) -> str:
    """Return what the engine calls an image whose layers are in a folder, once it has it."""
    argv = engine.argv(["image", "load"])
    with piped.feeding(argv, env=engine.environ, stall_s=STALL_S) as load:
        # It reads no more: how it ended, below, says why.
        with contextlib.suppress(BrokenPipeError), writing(Fed(load)) as archive:
            write_archive(packed, archive, folder)
        done = load.finish(END_S)
    found = _loaded(engine, packed)
    if done.returncode != 0 or found is None:
        raise failure(f"the engine of this machine did not take `{packed.name}`", done)
    return found.id


def _loaded(engine: Engine, packed: Packed) -> ImageRecord | None:
    found = find_image(engine, packed.name)
    return found if found is not None and found.layers == packed.contents else None
