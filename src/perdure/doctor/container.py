"""The container engine: whether it answers, how old it is, and whether its client can build."""

from __future__ import annotations

from collections.abc import Iterator

from perdure.doctor.finding import Finding, fine, problem, warning
from perdure.doctor.programs import version_in
from perdure.doctor.surroundings import EngineSeen, Surroundings
from perdure.errors import EnvironmentFailed, PerdureError
from perdure.hosts.engine import Engine, EngineVersion, find_engine

FLOOR = (20, 10)
PODMAN_FLOOR = (4, 0)
ASK_S = 15.0
LOCAL = "`--on local` needs none"


def engine(around: Surroundings) -> Iterator[Finding]:
    """Yield which engine answers."""
    seen = around.seen
    if seen.engine is None or seen.version is None:
        yield _none(around, seen.error)
        return
    where = seen.engine.endpoint or "by its client"
    told = f"{seen.engine.kind} {seen.version.server} ({seen.version.platform}) at {where}"
    if _too_old(seen.engine, seen.version):
        yield problem("engine", f"{told}: too old", "install Docker 20.10, Podman 4, or newer")
    else:
        yield fine("engine", told)


def building(around: Surroundings) -> Iterator[Finding]:
    """Yield whether a client and the engine can build images with BuildKit."""
    if around.seen.version is None:
        return
    if not around.seen.version.buildkit:
        remedy = "update the engine, or switch BuildKit on in /etc/docker/daemon.json"
        yield problem("buildkit", "the engine does not build with it", remedy)
        return
    try:
        found = find_engine(around.settings, around.environ, building=True)
    except EnvironmentFailed as error:
        yield problem("buildkit", error.message, error.hint or "install docker-buildx")
        return
    other = around.seen.engine is not None and found.program != around.seen.engine.program
    first = f"; `{around.seen.engine.program}` cannot" if around.seen.engine and other else ""
    yield fine("buildkit", f"`{found.program}` builds{first}")


def images(around: Surroundings) -> Iterator[Finding]:
    """Yield how the engine keeps images."""
    version = around.seen.version
    if version is None or around.seen.engine is None:
        return
    if version.storage == "containerd":
        yield fine("image store", "containerd: two builds of one lock give one digest")
    else:
        told = "classic: works, but two builds of one lock may differ in their digests"
        yield fine("image store", told)


def compose(around: Surroundings) -> Iterator[Finding]:
    """Yield whether ejected compose files can be used."""
    found = around.seen.engine
    if found is None or around.seen.version is None:
        return
    told = found.run(["compose", "version", "--short"], timeout_s=ASK_S)
    number = version_in(told.text)
    if told.returncode == 0 and number:
        yield fine("compose", told.text.splitlines()[-1])
    else:
        remedy = "install docker-compose-plugin; only `perdure eject compose` is for it"
        yield warning("compose", "the client has no `compose`", remedy)


def _none(around: Surroundings, error: PerdureError | None) -> Finding:
    """Return the finding of no engine: a problem only where the user has asked for a certain one.

    Everything works on `local` without one.
    """
    said = error.message if error else "it does not say what it is"
    asked = around.settings.docker.program or around.environ.get("DOCKER_HOST")
    remedy = (error.hint if error else None) or "start it"
    if "--on local" not in remedy:
        remedy += f"; {LOCAL}"
    return problem("engine", said, remedy) if asked else warning("engine", said, remedy)


def _too_old(found: Engine, version: EngineVersion) -> bool:
    number = version_in(version.server)
    floor = PODMAN_FLOOR if found.kind == "podman" else FLOOR
    return number is not None and number < floor


def graph_folder(seen: EngineSeen) -> str | None:
    """Return the folder of the engine's images, None where it does not say."""
    store = seen.info.get("store")
    folder = store.get("graphRoot") if isinstance(store, dict) else None
    told = seen.info.get("DockerRootDir") or folder
    return told if isinstance(told, str) else None


def remapped(seen: EngineSeen) -> bool:
    """Return whether the users of a container are others outside of it."""
    options = seen.info.get("SecurityOptions")
    named = isinstance(options, list) and any("userns" in str(each) for each in options)
    return named or (seen.version is not None and seen.version.rootless)
