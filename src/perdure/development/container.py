"""The container that a project is worked in, as the words that make it. Pure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from perdure.development import far
from perdure.development.wishes import Passed, Wishes
from perdure.hosts.engine_client import DOCKER, PODMAN
from perdure.images.mounts import CODE, PROJECT, Mount, mount_words
from perdure.model.image import ImageUser
from perdure.model.project import Project
from perdure.targets.container import half_of_memory
from perdure.targets.invocation import container_name

HOME = "/home/perdure"
ROLE = "dev"
#: The labels a container carries: whose it is, what for, and what it was made from.
PROJECT_LABEL = "perdure.project"
ROLE_LABEL = "perdure.role"
IMAGE_LABEL = "perdure.image"
WISHES_LABEL = "perdure.wishes"
CONTENTS_LABEL = "perdure.contents"

#: How long what runs in the container has to save and end when it is stopped.
GRACE_S = 30.0

# The container's first process. It says in the log when it began, and does nothing until it is
# asked to end: then everything in the container is asked, so that a training can save, and waited
# for until the engine's patience ends; an idle shell is not.
KEEP = """\
others() {
  for place in /proc/[1-9]*; do
    [ "$place" = /proc/1 ] || [ "$place" = "/proc/$$" ] && continue
    read -r name < "$place/comm" || continue
    case $name in bash|sh|dash|zsh|fish|sleep|docker-init|tini|catatonit) ;; *) return 0 ;; esac
  done 2> /dev/null
  return 1
}
leave() {
  trap '' TERM
  echo "$(date -u +%FT%TZ) stopping"
  kill -s TERM -- -1
  while others; do sleep 0.1; done
  echo "$(date -u +%FT%TZ) stopped"
  exit 0
}
trap leave TERM
echo "$(date -u +%FT%TZ) up, from $PERDURE_IMAGE"
while :; do sleep 86400 & wait "$!"; done
"""

# What a shell begins with. The history is written at each prompt: a container that is stopped
# takes its shells with it, and gives them no time to write it.
BASHRC = """\
# Made by `perdure up`, once; change it as you like. This folder is the home of the project's
# development container, and outlives it.
[ -r /etc/bash.bashrc ] && . /etc/bash.bashrc
PROMPT_COMMAND='history -a'
PS1="(${PERDURE_PROJECT_NAME:-dev}) \\\\w\\\\$ "
HISTSIZE=10000 HISTFILESIZE=100000
alias ll='ls -lA'
# What `perdure up --mirrors` hands over, for shells that perdure did not start.
[ -r /run/perdure/machine/environment ] && . /run/perdure/machine/environment
"""


@dataclass(frozen=True, slots=True)
class Host:
    """What of its machine a container depends on: its project, its engine, the user's groups.

    `root` is the project's folder there. `rootless` is podman's: the ids of the container are then
    mapped to the user's own. `shm_bytes` is the most that /dev/shm may hold.
    """

    project: Project
    root: Path
    kind: str = DOCKER
    user_id: int = field(default_factory=os.getuid)
    groups: tuple[int, ...] = ()
    rootless: bool = False
    shm_bytes: int = field(default_factory=half_of_memory)


@dataclass(frozen=True, slots=True)
class Made:
    """What a container is made from: the image's tag, its user, what is in it by name."""

    tag: str
    user: ImageUser
    contents: str


def run_words(
    host: Host, made: Made, wishes: Wishes, mounts: tuple[Mount, ...], passed: Passed
) -> tuple[str, ...]:
    """Return the words, after the client, that make and start the container.

    The same values give the same words; none of them holds the value of a variable passed on.
    """
    project = host.project
    home = Mount(str(far.project_in(str(host.root)).state / far.HOME), HOME, read_only=False)
    all_mounts = (*mounts, home, *passed.mounts)
    labels = {
        PROJECT_LABEL: str(host.root),
        ROLE_LABEL: ROLE,
        IMAGE_LABEL: made.tag,
        WISHES_LABEL: wishes.to_label(),
        CONTENTS_LABEL: made.contents,
    }
    return (
        *("run", "--detach", "--init", "--pull", "never"),
        *("--name", container_name(host.root, ROLE)),
        *_labels(labels),
        *("--hostname", hostname(project), "--workdir", CODE, "--shm-size", str(host.shm_bytes)),
        *("--stop-timeout", str(int(GRACE_S))),
        *mount_words(all_mounts),
        *_environment(project, made),
        *passed.words,
        *gpu_words(host.kind, wishes.gpus),
        *_whom(host, made.user),
        *("--entrypoint", "/bin/sh", made.tag, "-c", KEEP),
    )


def exec_words(
    container: str, command: tuple[str, ...], *, folder: str, root: bool, terminal: bool
) -> tuple[str, ...]:
    """Return the words, after the client, that run a command in the container."""
    return (
        *("exec", "--interactive"),
        *(("--tty", "--env", "TERM") if terminal else ()),
        *(("--user", "0:0", "--env", "HOME=/root") if root else ()),
        *("--workdir", folder, container, *(command or ("bash",))),
    )


def folder_inside(project: Project, here: Path) -> str:
    """Return the folder of the container that is `here` on this machine, the code's if none is."""
    places = ((project.data, "data"), (project.results, "results"))
    real = Path(os.path.realpath(here))
    for outside, name in ((project.root, "code"), *places):
        base = Path(os.path.realpath(outside))
        if real.is_relative_to(base):
            return str(Path(PROJECT, name, real.relative_to(base)))
    return CODE


def hostname(project: Project) -> str:
    """Return a host's name made of the project's: letters, digits and hyphens, 63 at most."""
    letters = (letter if letter.isascii() and letter.isalnum() else "-" for letter in project.name)
    return "".join(letters)[:60].strip("-") or ROLE


def gpu_words(kind: str, gpus: str | None) -> tuple[str, ...]:
    """Return the words that hand GPUs to a container; `gpus` is `all`, a number, or None."""
    if gpus is None:
        return ()
    if kind != PODMAN:
        return ("--gpus", gpus)
    names = ("all",) if gpus == "all" else map(str, range(int(gpus)))
    return tuple(word for name in names for word in ("--device", f"nvidia.com/gpu={name}"))


def _whom(host: Host, user: ImageUser) -> tuple[str, ...]:
    """Return the words for whom the container runs as, with the groups that may read the data."""
    words = ["--user", f"{user.user_id}:{user.group_id}"]
    if host.user_id == user.user_id:
        for group in sorted({*host.groups} - {user.group_id}):
            words += ["--group-add", str(group)]
    if host.kind == PODMAN:
        # Its containers are kept apart by labels that a project's folders do not have.
        words += ["--security-opt", "label=disable"]
        words += ["--userns", "keep-id"] if host.rootless else []
    return tuple(words)


def _environment(project: Project, made: Made) -> tuple[str, ...]:
    variables = {
        "HOME": HOME,
        "PERDURE_IMAGE": made.tag,
        "PERDURE_PROJECT_NAME": project.name,
    }
    return tuple(word for key, value in variables.items() for word in ("--env", f"{key}={value}"))


def _labels(labels: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(word for key, value in labels.items() for word in ("--label", f"{key}={value}"))
