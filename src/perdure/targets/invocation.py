"""The words of `docker run` for a job: what its container sees, may use, and runs as. Pure."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from perdure.images.mounts import CODE, RESULTS, Mount, mount_words
from perdure.model.image import ImageUser
from perdure.model.job import ImageUsed, JobRecord, Resources
from perdure.runtime import names

SUPERVISOR = "/opt/perdure/perdure/runtime/supervisor/__main__.py"
PODMAN = "podman"

_DIGITS = 8
# Beyond its grace: the supervisor ends what does not stop by then, and writes down that it did.
_STOP_MARGIN_S = 15
# Variables that the client itself heeds, or that decide where it is found: it must not be given a
# job's, so their values go into the command line. Any other value stays out of it.
_CLIENTS = ("CONTAINER", "DOCKER_", "LD_", "XDG_")
_CLIENTS_OWN = frozenset({"GODEBUG", "HOME", "PATH", "TMPDIR"})


@dataclass(frozen=True, slots=True)
class Setting:
    """What of this machine a command line depends on beside the job.

    `shm_bytes` is the size of /dev/shm where the job names none, `groups` are those of the person
    who asks, so that data that a group may read can be read. `returns`: the engine starts the job
    again after it was down itself. `lent`: the machine is there for this job alone. Its network is
    the job's, so that the provider's notices are heard, and a signal to the client is the job's.
    """

    root: Path
    program: str
    kind: str
    shm_bytes: int
    groups: tuple[int, ...] = ()
    rootless: bool = False
    returns: bool = False
    lent: bool = False


def container_name(root: Path, role: str) -> str:
    """Return the name of the container that a project has for a job, or for another role."""
    return f"perdure-{hashlib.sha256(os.fsencode(root)).hexdigest()[:_DIGITS]}-{role}"


def supervised(
    setting: Setting, job: JobRecord, mounts: tuple[Mount, ...], options: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the command line that runs a job's supervisor, its options and the training."""
    image = image_of(job)
    stop_s = round(job.limits.grace_s) + _STOP_MARGIN_S
    return (
        *(setting.program, "run", *_life(setting), "--init=false", *_reach(setting)),
        f"--name={container_name(setting.root, job.job)}",
        *(f"--label=perdure.project={setting.root}", f"--label=perdure.job={job.job}"),
        f"--stop-timeout={stop_s}",
        *surroundings(setting, job, mounts),
        *("--entrypoint=python", image.reference),
        *("-I", "-S", SUPERVISOR, *options, "--", *job.argv),
    )


def beside(
    setting: Setting,
    job: JobRecord,
    mounts: tuple[Mount, ...],
    argv: Sequence[str],
    *options: str,
) -> tuple[str, ...]:
    """Return the words, without the program, that run a command in a container like a job's."""
    word, *rest = argv
    return (
        *("run", "--rm", "--interactive", *options),
        f"--label=perdure.project={setting.root}",
        *surroundings(setting, job, mounts),
        *(f"--entrypoint={word}", image_of(job).reference, *rest),
    )


def surroundings(setting: Setting, job: JobRecord, mounts: tuple[Mount, ...]) -> tuple[str, ...]:
    """Return the options that a job's container and others beside it have in common."""
    image = image_of(job)
    return (
        # The image was made here: no registry is to be asked for it.
        "--pull=never",
        f"--user={image.user_id}:{image.group_id}",
        *(f"--group-add={group}" for group in setting.groups),
        *_podman(setting),
        f"--workdir={CODE}",
        *mount_words(mounts),
        *_variables(job.variables),
        *_limits(setting, job.resources),
    )


def _life(setting: Setting) -> tuple[str, ...]:
    """Return what becomes of a container that has ended."""
    if not setting.returns:
        return ("--rm",)
    # A supervisor that returns ends with 0 once its job is settled, whatever came of that.
    return ("--restart=on-failure", f"--env={names.RETURNS_AFTER}")


def _reach(setting: Setting) -> tuple[str, ...]:
    """Return whether signals to the client reach the job, and what network it has."""
    return ("--network=host",) if setting.lent else ("--sig-proxy=false",)


def passed_by_name(variables: Mapping[str, str]) -> Mapping[str, str]:
    """Return the variables that the client takes from its own environment."""
    return {name: value for name, value in variables.items() if not _is_clients(name)}


def results_seen(job: JobRecord, path: Path) -> str:
    """Return what a path below the folder of a job's run folder is called in its container."""
    return f"{RESULTS}/{path.relative_to(job.results).as_posix()}"


def image_of(job: JobRecord) -> ImageUsed:
    """Return the image of a job that was submitted for a container."""
    assert job.environment.image is not None  # a target with images is given nothing else
    return job.environment.image


def owner_of(job: JobRecord) -> ImageUser:
    """Return whom the job's container runs as."""
    image = image_of(job)
    return ImageUser(image.user_id, image.group_id)


def _variables(variables: Mapping[str, str]) -> tuple[str, ...]:
    own = (f"--env=PYTHONPATH={CODE}/src:{CODE}", "--env=PYTHONUNBUFFERED=1")
    given = (
        f"--env={name}={value}" if _is_clients(name) else f"--env={name}"
        for name, value in variables.items()
    )
    return (*own, *given)


def _is_clients(name: str) -> bool:
    return name in _CLIENTS_OWN or name.startswith(_CLIENTS)


def _limits(setting: Setting, resources: Resources) -> tuple[str, ...]:
    words = [f"--shm-size={resources.shm_bytes or setting.shm_bytes}"]
    if resources.memory_bytes is not None:
        words.append(f"--memory={resources.memory_bytes}")
    if resources.cpus is not None:
        words.append(f"--cpus={resources.cpus:g}")
    if resources.gpus and setting.kind == PODMAN:
        words += _podman_gpus(resources.gpus)
    elif resources.gpus:
        words.append(f"--gpus={resources.gpus}")
    return tuple(words)


def _podman_gpus(gpus: int | str) -> list[str]:
    """Return podman's words for GPUs: devices of the container device interface (CDI)."""
    names = ["all"] if gpus == "all" else [str(number) for number in range(int(gpus))]
    return [f"--device=nvidia.com/gpu={name}" for name in names]


def _podman(setting: Setting) -> tuple[str, ...]:
    if setting.kind != PODMAN:
        return ()
    # Its containers are kept apart by SELinux labels that a project's folders do not have.
    labels = ("--security-opt=label=disable",)
    return (*labels, "--userns=keep-id") if setting.rootless else labels
