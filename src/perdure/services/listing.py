"""The services of a project on all targets that it has any on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from perdure.errors import HostUnreachable, PerdureError
from perdure.hosts.here import HERE
from perdure.hosts.limited import Limited
from perdure.hosts.reaching import reached
from perdure.jobs.workspace import Workspace
from perdure.services import forwards
from perdure.services.side import desk
from perdure.targets.registry import LOCAL

# For so long hosts are waited for by whoever only wants to see what there is.
LIMIT_S = 3.0


@dataclass(frozen=True, slots=True)
class Service:
    """A service, or a target that was not reached: then `problem` says why.

    `port` is this machine's, 0 where nothing leads there. Times are in seconds.
    """

    name: str
    target: str
    state: str
    port: int = 0
    path: str = "/"
    age_s: float = 0.0
    idle_s: float = 0.0
    limit_s: float = 0.0
    lifetime_s: float = 0.0
    problem: str | None = None

    @property
    def ends_in_s(self) -> float:
        """Return in how long it ends by itself if nobody uses it."""
        return max(0.0, min(self.limit_s - self.idle_s, self.lifetime_s - self.age_s))


def services_of(workspace: Workspace, limit_s: float = LIMIT_S) -> list[Service]:
    """Return all of them; hosts are asked side by side, and all of them together for so long."""
    project = workspace.project
    until = time.monotonic() + limit_s
    kept = forwards.known(project)
    places = {each["target"]: (each["destination"], each["root"]) for each in kept}
    asked = {name: Limited(partial(_ask, name, *place), name) for name, place in places.items()}
    found = [_service(LOCAL, each, {}) for each in HERE.call(desk.look, str(project.root))]
    for target, answer in asked.items():
        mine = {each["name"]: each for each in kept if each["target"] == target}
        try:
            living = answer.answer(max(0.01, until - time.monotonic()))
            if living is None:
                raise HostUnreachable(f"`{target}` does not answer")
        except PerdureError as error:
            found += [_lost(each, error) for each in mine.values()]
            continue
        found += [_service(target, each, mine.get(each["name"], {})) for each in living]
        for name in mine.keys() - {each["name"] for each in living}:
            forwards.stop(project, target, name)
            forwards.forget(project, target, name)
    return found


def _ask(target: str, destination: str, root: str) -> list[dict[str, Any]]:
    return reached(target, destination, asks=False).call(desk.look, root)


def _service(target: str, stands: Mapping[str, Any], forward: Mapping[str, Any]) -> Service:
    mine = forward.get("port", 0) if forward.get("alive") else 0
    return Service(
        name=stands["name"],
        target=stands["said"].get("target", target),
        state=stands["state"],
        port=stands["port"] if target == LOCAL else mine,
        path=stands["path"],
        age_s=stands["age_s"],
        idle_s=stands["idle_s"],
        limit_s=stands["limit_s"],
        lifetime_s=stands["lifetime_s"],
    )


def _lost(forward: Mapping[str, Any], error: PerdureError) -> Service:
    return Service(
        name=forward["name"],
        target=forward["target"],
        state="not reached",
        port=forward["port"] if forward["alive"] else 0,
        problem=error.message,
    )
