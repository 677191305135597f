"""The development container, brought up, entered, stopped and removed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from perdure.development import contents, elsewhere, far, mirrors
from perdure.development.change import Wanted
from perdure.development.container import (
    BASHRC,
    GRACE_S,
    Host,
    Made,
    exec_words,
    folder_inside,
    run_words,
)
from perdure.development.installation import install_itself
from perdure.development.standing import ASK_S, Session, Standing, State, look
from perdure.development.wishes import Passed, Wishes, pass_on
from perdure.errors import ConflictError, EnvironmentFailed, PerdureError
from perdure.hosts.engine_client import PODMAN
from perdure.images.mounts import Mount
from perdure.images.user import choose_user
from perdure.jobs.workspace import storing
from perdure.model.image import ImageUser
from perdure.model.report import Report

START_S = 120.0


@dataclass(frozen=True, slots=True)
class Entry:
    """A command to run in the container (none: a shell), from which folder, and as whom."""

    command: tuple[str, ...]
    here: Path
    root: bool = False
    terminal: bool = False


def wanted_now(session: Session, wishes: Wishes, *, report: Report) -> Wanted:
    """Return what the project would get now. Builds nothing; a lock is made where there is none.

    Raises:
        EnvironmentFailed: the lock is older than the declarations.
    """
    from perdure.development.image import plan_image

    tag, parts = plan_image(session, wishes.variant, report=report)
    return Wanted(tag, parts, wishes)


def make(session: Session, wishes: Wishes, standing: Standing, *, report: Report) -> None:
    """Make the container and start it, in place of the one there is; its image is built first.

    Raises:
        BuildFailed: the image cannot be built; the container there was is as it was.
        PerdureError: the engine does not start it.
    """
    from perdure.development.image import build_image

    # What is asked for is looked for before anything is built or ended.
    passed = pass_on(wishes, session.engine.environ)
    if wishes.mirrors:
        mirrors.handed_over(session)
    image, parts = build_image(session, wishes.variant, report=report)
    made = Made(image.tag, image.user, contents.to_label(parts))
    _make_folders(session, image.user)
    passed = elsewhere.carry(session.place, image.user, passed)
    host, mounts = ground_of(session)
    if standing.state is not State.ABSENT:
        remove(session, standing, report=report)
    passed = _with_mirrors(session, image.user, passed) if wishes.mirrors else passed
    words = run_words(host, made, wishes, mounts, passed)
    report("starting the container")
    engine = replace(session.engine, environ={**session.engine.environ, **(passed.environ or {})})
    done = engine.run(words, timeout_s=START_S)
    if done.returncode != 0:
        _discard(session)
        raise _refused(done.complaint)
    _check_running(session)
    install_itself(session, report=report)


def start(session: Session, standing: Standing, *, report: Report) -> None:
    """Start a container that is there, as it is; one that runs is left be.

    What of this machine is handed over to it is brought up to date.

    Raises:
        PerdureError: the engine does not start it.
    """
    if standing.wishes.mirrors:
        user = choose_user(session.project, session.settings)
        mirrors.write(mirrors.folder_of(session), mirrors.handed_over(session).files, user)
    if standing.state is State.RUNNING:
        return
    report("starting the container")
    verb = "unpause" if standing.state is State.PAUSED else "start"
    done = session.engine.run((verb, session.container), timeout_s=START_S)
    if done.returncode != 0:
        raise EnvironmentFailed(
            f"the container does not start again: {_last_line(done.complaint)}",
            hint="`perdure down`, then `perdure up`: a folder it saw may be gone",
        )
    _check_running(session)


def stop(session: Session, standing: Standing, *, report: Report, grace_s: float = GRACE_S) -> None:
    """Stop the container: what runs in it is asked to end, then ended. What is in it stays."""
    if standing.state in (State.ABSENT, State.STOPPED):
        return
    report("stopping the container")
    name = session.container
    if standing.state is State.PAUSED:
        session.engine.run(("unpause", name), timeout_s=ASK_S)
    words = ("stop", "--time", str(math.ceil(grace_s)), name)
    done = session.engine.run(words, timeout_s=grace_s + ASK_S)
    if done.returncode != 0:
        raise PerdureError(f"the container does not stop: {_last_line(done.complaint)}")


def remove(session: Session, standing: Standing, *, report: Report) -> None:
    """Stop the container and remove it, with all that was installed in it by hand."""
    stop(session, standing, report=report)
    _discard(session)


def enter(session: Session, entry: Entry) -> int:
    """Return the exit code of a command in the running container, with this terminal."""
    words = exec_words(
        session.container,
        mirrors.with_machine(entry.command or ("bash",)),
        folder=folder_inside(session.project, entry.here),
        root=entry.root,
        terminal=entry.terminal,
    )
    return session.engine.attached(words)


def show_log(session: Session, *, follow: bool) -> int:
    """Return the exit code of the engine's client, after it has written the container's log."""
    words = ("logs", *(("--follow",) if follow else ()), session.container)
    return session.engine.attached(words)


def ground_of(session: Session) -> tuple[Host, tuple[Mount, ...]]:
    """Return what of its machine the container depends on, and what it sees. Asks the engine."""
    kind, place = session.engine.kind, session.place
    rootless = kind == PODMAN and session.engine.version().rootless
    found = place.host.call(far.ground, place.root)
    host = Host(
        session.project,
        session.root,
        kind,
        user_id=found["user"],
        groups=tuple(found["groups"]),
        rootless=rootless,
        shm_bytes=found["shm_bytes"],
    )
    return host, tuple(Mount(*each) for each in found["mounts"])


def _check_running(session: Session) -> None:
    if look(session).state is not State.RUNNING:
        name = session.container
        said = session.engine.run(("logs", "--tail", "5", name), timeout_s=ASK_S)
        raise EnvironmentFailed(
            f"the container ended at once: {_last_line(said.complaint or said.text)}",
            hint="perdure logs",
        )


def _discard(session: Session) -> None:
    """Remove the container, whatever its state; none there is right too."""
    words = ("rm", "--force", "--volumes", session.container)
    session.engine.run(words, timeout_s=ASK_S)
    mirrors.remove(mirrors.folder_of(session))


def _with_mirrors(session: Session, user: ImageUser, passed: Passed) -> Passed:
    """Return what is passed on with what this machine was told of mirrors, which is written."""
    handed, folder = mirrors.handed_over(session), mirrors.folder_of(session)
    mirrors.write(folder, handed.files, user)
    mounts, words = (*passed.mounts, *handed.mounts(folder)), (*passed.words, *handed.words())
    return replace(passed, mounts=mounts, words=words)


def _refused(complaint: str) -> PerdureError:
    said = _last_line(complaint)
    if "already in use" in complaint:
        return ConflictError(
            "somebody else makes this project's container right now", hint="perdure shell"
        )
    if "device driver" in complaint or "nvidia" in complaint.lower():
        return EnvironmentFailed(f"no GPU for the container: {said}", hint="perdure doctor")
    return EnvironmentFailed(f"the container does not start: {said}", hint="perdure doctor")


def _last_line(text: str) -> str:
    """Return the engine's own words: the last line that is not about its `--help`."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    own = [line for line in lines if "--help" not in line]
    return own[-1].removeprefix("docker: ") if own else "it says nothing"


def _make_folders(session: Session, user: ImageUser) -> None:
    place = session.place
    with storing("the container's home"):
        ids = (user.user_id, user.group_id)
        place.host.call(far.make_folders, place.root, BASHRC, *ids)
