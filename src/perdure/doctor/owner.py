"""Whose the files are that a container makes: looked up, and tried where an image is at hand."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from perdure.doctor.container import remapped
from perdure.doctor.finding import Finding, fine, problem, warning
from perdure.doctor.surroundings import Surroundings
from perdure.errors import PerdureError, UsageError
from perdure.hosts.engine import Engine
from perdure.images.mounts import Mount, mount_words
from perdure.images.user import choose_user

TRY_S = 60.0
ASK_S = 15.0
INSIDE = "/perdure-doctor"
#: Images that have `touch` and nothing that runs by itself.
PLAIN = ("debian", "ubuntu", "busybox", "alpine", "python", "fedora", "rockylinux", "almalinux")

Ids = tuple[int, int]


def user(around: Surroundings) -> Iterator[Finding]:
    """Yield whom containers run as, and whether what they write is the user's."""
    name = "user"
    try:
        ids = container_user(around)
    except UsageError as error:
        yield warning(name, error.message, error.hint or "work as an ordinary user")
        return
    if ids is None:
        yield fine(name, "root; containers run as the owner of the project's folder")
        return
    if os.getuid() == 0:
        told = f"root; containers run as {ids[0]}:{ids[1]}, and what perdure makes is theirs"
    else:
        told = f"{os.getuid()}:{os.getgid()}"
        told += f"; containers run as {ids[0]}:{ids[1]}" if ids[0] != os.getuid() else ""
    yield fine(name, told)
    yield from ownership(around, ids)


def container_user(around: Surroundings) -> Ids | None:
    """Return whom a container would run as, None where that depends on a project.

    Raises:
        UsageError: nobody but root is left.
    """
    if around.project:
        chosen = choose_user(around.project, around.settings)
        return chosen.user_id, chosen.group_id
    return (os.getuid(), os.getgid()) if os.getuid() and os.getgid() else None


def ownership(around: Surroundings, ids: Ids) -> Iterator[Finding]:
    """Yield to whom a file belongs that a container makes in a folder of this machine."""
    found = around.seen.engine
    if found is None or around.seen.version is None or not found.is_local():
        return
    name = "files of containers"
    chosen = image_at_hand(around, found)
    if chosen is None:
        told = "not tried: no plain image is here, and none is fetched"
        if remapped(around.seen):
            remedy = "`perdure doctor` again after the first `perdure build`, which it can try with"
            yield warning(name, f"{told}; the engine maps user ids", remedy)
        else:
            yield fine(name, told)
        return
    parent = around.project.state if around.project else None
    parent = parent if parent and parent.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="doctor-", dir=parent) as folder:
        if os.getuid() == 0:
            os.chown(folder, *ids)
        yield judge_owner(name, make_file(found, chosen, Path(folder), ids), ids)


def judge_owner(name: str, made: Ids | str, ids: Ids) -> Finding:
    """Return whether a file belongs to whom it should; `made` is its owner, or what went wrong."""
    remedy = (
        "an engine that maps user ids (rootless, userns-remap) has to map yours to itself: use one "
        "that does not, or podman with keep-id"
    )
    if isinstance(made, str):
        return problem(name, f"a container could not write into a folder of yours: {made}", remedy)
    if made != ids:
        told = f"they belong to {made[0]}:{made[1]} and not to {ids[0]}:{ids[1]}"
        return problem(name, told, remedy)
    return fine(name, f"they belong to {ids[0]}:{ids[1]}, as tried in a container")


def make_file(engine: Engine, image: str, folder: Path, ids: Ids) -> Ids | str:
    """Return the owner of a file that a container made in `folder`, or what went wrong.

    The container is gone afterwards, whatever happened. Nothing is pulled.
    """
    name = f"perdure-doctor-{os.getpid()}-{os.urandom(4).hex()}"
    words = ["run", "--rm", "--pull=never", "--network=none", "--name", name]
    words += ["--user", f"{ids[0]}:{ids[1]}", "--entrypoint", "touch"]
    words += ["--userns=keep-id"] if engine.kind == "podman" and os.getuid() != 0 else []
    words += mount_words([Mount(str(folder), INSIDE, read_only=False)])
    try:
        done = engine.run([*words, image, f"{INSIDE}/file"], timeout_s=TRY_S)
    except PerdureError as error:
        with suppress(PerdureError):
            engine.run(["rm", "--force", name], timeout_s=ASK_S)
        return error.message
    if done.returncode != 0:
        return (done.complaint or f"exit code {done.returncode}").splitlines()[0]
    try:
        owner = (folder / "file").stat()
    except OSError:
        return "what it wrote is not here: the engine does not see this machine's folders"
    return owner.st_uid, owner.st_gid


def image_at_hand(around: Surroundings, engine: Engine) -> str | None:
    """Return an image to try with that the engine has: the project's base, or a plain one."""
    base = around.project.environment.base if around.project else PLAIN[0]
    listed = engine.run(["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"], timeout_s=ASK_S)
    return choose_image(listed.text.splitlines(), base)


def choose_image(listed: Sequence[str], base: str) -> str | None:
    """Return the one to try with: `base` if it is listed, else the first plain one."""
    if base in listed:
        return base
    plain = (each for each in listed if not each.endswith(":<none>"))
    return next((each for each in plain if _short_name(each) in PLAIN), None)


def _short_name(image: str) -> str:
    """Return `debian` for `docker.io/library/debian:bookworm-slim`."""
    return image.rpartition(":")[0].rpartition("/")[2]
