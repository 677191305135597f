"""How a project's development container stands: whether it is there, runs, and is up to date."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from perdure.development import contents
from perdure.development.container import (
    CONTENTS_LABEL,
    IMAGE_LABEL,
    KEEP,
    PROJECT_LABEL,
    ROLE,
    WISHES_LABEL,
)
from perdure.development.leftovers import Leftovers, leftovers_in
from perdure.development.wishes import NONE, Wishes
from perdure.errors import ConflictError, EnvironmentFailed
from perdure.hosts.engine import ContainerFacts, Engine, find_engine
from perdure.hosts.engine_socket import LOCAL
from perdure.jobs.workspace import Workspace
from perdure.model.project import Project
from perdure.model.settings import Settings
from perdure.targets.cluster import require_machine
from perdure.targets.invocation import container_name
from perdure.targets.place import Place, here
from perdure.targets.registry import open_target

ASK_S = 60.0
_OUR_OWN = ("sleep 86400", KEEP.splitlines()[0])


class State(Enum):
    """What a container does."""

    ABSENT = "absent"
    STOPPED = "stopped"
    PAUSED = "paused"
    RUNNING = "running"


_STATES = {"running": State.RUNNING, "restarting": State.RUNNING, "paused": State.PAUSED}


@dataclass(frozen=True, slots=True)
class Session:
    """A project with its user's settings, where it lies, and the engine its container is in.

    `settings` are those with which that engine is used.
    """

    workspace: Workspace
    engine: Engine
    place: Place
    settings: Settings

    @property
    def project(self) -> Project:
        """Return the project."""
        return self.workspace.project

    @property
    def container(self) -> str:
        """Return the name of the project's development container."""
        return container_name(self.root, ROLE)

    @property
    def host_name(self) -> str | None:
        """Return what users call the container's host, None for this machine."""
        return None if self.place.is_here else self.place.host.name

    @property
    def root(self) -> Path:
        """Return the project's folder on the host of the container."""
        return Path(self.place.root)


@dataclass(frozen=True, slots=True)
class Standing:
    """A container as it was found, with what it was made from."""

    state: State
    tag: str = ""
    wishes: Wishes = NONE
    contents: Mapping[str, str] | None = None


def open_session(workspace: Workspace, on: str | None = None) -> Session:
    """Return the session of a workspace, on this machine or on a target of another host.

    Looks for an engine; see `find_engine`.

    Raises:
        EnvironmentFailed: there is no engine, or it does not see the project's folders.
        UsageError: there is no such target.
    """
    from perdure.jobs.image import settings_on

    place = here(workspace.project.root)
    if on is not None:
        found = open_target(on, workspace.project, workspace.settings)
        require_machine(found, "there is no engine for the container to develop in")
        place = found.place
    try:
        settings = settings_on(place.host, workspace.settings)
        engine = find_engine(settings)
    except EnvironmentFailed as error:
        # Jobs go without containers; the container to develop in does not.
        error.hint = _without_local(error.hint)
        raise
    if not engine.is_local():
        raise EnvironmentFailed(
            f"the container engine at `{engine.endpoint}` does not see this machine's folders",
            hint="unset DOCKER_HOST, or `docker context use default`; "
            "`perdure run` on that machine works too",
        )
    return Session(workspace, engine, place, settings)


def _without_local(hint: str | None) -> str | None:
    return hint and hint.replace(f", or {LOCAL}", "").replace(LOCAL, "perdure doctor")


def look(session: Session) -> Standing:
    """Return how the project's container stands. Asks the engine.

    Raises:
        ConflictError: a container of that name belongs to somebody else.
    """
    facts = session.engine.inspect_container(session.container)
    return Standing(State.ABSENT) if facts is None else standing_of(facts, session.root)


def standing_of(facts: ContainerFacts, root: Path) -> Standing:
    """Return how a container stands. Pure.

    Raises:
        ConflictError: it is not this project's.
    """
    if facts.labels.get(PROJECT_LABEL) != str(root):
        raise ConflictError(
            f"the container `{facts.name}` is not this project's",
            hint=f"look at it: docker inspect {facts.name}",
        )
    return Standing(
        state=_STATES.get(facts.state, State.STOPPED),
        tag=facts.labels.get(IMAGE_LABEL, ""),
        wishes=Wishes.from_label(facts.labels.get(WISHES_LABEL, "")),
        contents=contents.from_label(facts.labels.get(CONTENTS_LABEL, "")),
    )


def installed_by_hand(session: Session) -> Leftovers:
    """Return the packages that the container has and its image does not. Asks the engine."""
    done = session.engine.run(("diff", session.container), timeout_s=ASK_S)
    return leftovers_in(done.stdout.decode("utf-8", "replace"), session.project.name)


def running_inside(session: Session) -> tuple[str, ...]:
    """Return the commands that run in the container, but for its own first ones.

    Nothing where the engine cannot tell: it is for a question, not for a decision.
    """
    words = ("top", session.container, "-o", "pid,args")
    done = session.engine.run(words, timeout_s=ASK_S)
    return commands_in(done.stdout.decode("utf-8", "replace")) if done.returncode == 0 else ()


def commands_in(listing: str) -> tuple[str, ...]:
    """Return the commands in a listing of process ids and arguments, its first line a title."""
    rows = [line.strip().partition(" ")[2].strip() for line in listing.splitlines()[1:]]
    return tuple(row for row in rows if row and not any(own in row for own in _OUR_OWN))
