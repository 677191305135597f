"""A container engine: the user's docker or podman as a subprocess, its socket for questions."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast
from urllib.parse import quote

from perdure.errors import EngineUnreachable, PerdureError, TimeoutExpired
from perdure.hosts import local
from perdure.hosts.engine_client import (
    DOCKER,
    PODMAN,
    UNIX,
    endpoint_of,
    find_program,
    is_podman,
)
from perdure.hosts.engine_facts import (
    ContainerFacts,
    Document,
    EngineVersion,
    ImageFacts,
    container_facts,
    engine_version,
    image_facts,
    podman_version,
)
from perdure.hosts.engine_socket import LOCAL
from perdure.hosts.local import Completed
from perdure.model.settings import Settings

__all__ = ["ContainerFacts", "Engine", "EngineVersion", "ImageFacts", "find_engine"]

QUERY_S = 30.0
REACH_S = 15.0
ELSEWHERE = f"look at `docker context ls`, DOCKER_CONTEXT and DOCKER_HOST, or {LOCAL}"

# The client's own words, at the start of a line: what a container prints does not look so.
_UNREACHABLE = re.compile(
    r"^(?:docker: |ERROR: |error: |Error: )?"
    r"(?:Cannot connect to the Docker daemon|error during connect|failed to connect to the docker"
    r"|unable to connect to Podman|Cannot connect to Podman)",
    re.MULTILINE,
)
_REFUSED = re.compile(
    r"permission denied while trying to connect to the docker (?:daemon socket|API)"
    r"|[Gg]ot permission denied while trying to connect",
    re.IGNORECASE,
)
_NO_CONTEXT = re.compile(r'context "([^"]+)"(?:: context not found| does not exist)')
_UNKNOWN = re.compile(r"no such (?:image|container|object)|not known|not found", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Engine:
    """A client program, its environment, its kind (`docker` or `podman`), and where the engine is.

    `endpoint` is such as `unix:///var/run/docker.sock` or `ssh://gpu1`, "" where only the client
    knows.
    """

    program: str
    environ: Mapping[str, str]
    kind: str
    endpoint: str = ""

    @property
    def socket(self) -> str | None:
        """Return the path of the engine's unix socket, None where it has none here."""
        return self.endpoint.removeprefix(UNIX) if self.endpoint.startswith(UNIX) else None

    def argv(self, words: Sequence[str]) -> tuple[str, ...]:
        """Return the command that `run` and `attached` start."""
        return (self.program, *words)

    def run(
        self,
        words: Sequence[str],
        *,
        timeout_s: float,
        stdin: bytes | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> Completed:
        """Return how the client ended; any exit code of its own is an answer.

        Raises:
            EngineUnreachable: it could not speak to its engine.
            TimeoutExpired: it took longer than `timeout_s`.
        """
        done = local.run(
            self.argv(words), env=self.environ, timeout_s=timeout_s, stdin=stdin, on_line=on_line
        )
        if done.returncode != 0:
            self._refuse_unreachable(done)
        return done

    def attached(self, words: Sequence[str]) -> int:
        """Return the exit code of the client, which has this terminal until it ends."""
        return local.run_attached(self.argv(words), env=self.environ)

    def inspect_image(self, reference: str) -> ImageFacts | None:
        """Return what the engine has under that name, None where it has nothing.

        Raises:
            EngineUnreachable: it does not answer.
            TimeoutExpired: it does not answer in time.
        """
        found = self._ask(
            f"/images/{quote(reference, safe='')}/json", ("image", "inspect", reference)
        )
        return None if found is None else image_facts(found)

    def inspect_container(self, name: str) -> ContainerFacts | None:
        """Return the container of that name or id, None where there is none.

        Raises:
            EngineUnreachable: the engine does not answer.
            TimeoutExpired: it does not answer in time.
        """
        found = self._ask(
            f"/containers/{quote(name, safe='')}/json", ("container", "inspect", name)
        )
        return None if found is None else container_facts(found)

    def version(self) -> EngineVersion:
        """Return what the engine is and can.

        Raises:
            EngineUnreachable: it does not answer.
            TimeoutExpired: it does not answer in time.
        """
        podman = self.kind == PODMAN
        if podman and self.socket is None:
            return podman_version(self._client(("info",)) or {})
        version = self._ask("/version", ("version",)) or {}
        server = version.get("Server")
        found = engine_version(
            server if isinstance(server, dict) else version,
            self._ask("/info", ("info",)) or {},
            podman=podman,
        )
        # `--gpus` needs NVIDIA's hook only; its runtime need not be registered.
        hook = self.is_local() and shutil.which("nvidia-container-runtime-hook") is not None
        return _with_gpus(found) if hook else found

    def is_local(self) -> bool:
        """Return whether the engine sees this machine's folders, so that they can be mounted."""
        if self.kind == PODMAN and not self.endpoint:
            return True
        return self.socket is not None

    def _ask(self, question: str, words: Sequence[str]) -> Document | None:
        if self.socket is None:
            return self._client(words)
        from perdure.hosts.engine_socket import ask

        return ask(self.socket, question)

    def _client(self, words: Sequence[str]) -> Document | None:
        # An inspection by podman is a list unless it is formatted; Docker formats each one apart.
        done = self.run([*words, "--format", "{{json .}}"], timeout_s=QUERY_S)
        if done.returncode != 0:
            if "inspect" in words and _UNKNOWN.search(done.complaint):
                return None
            raise PerdureError(f"`{' '.join(done.argv)}` failed: {done.complaint}")
        document = json.loads(done.stdout)
        first = document[0] if isinstance(document, list) else document
        return cast("Document", first)

    def _refuse_unreachable(self, done: Completed) -> None:
        from perdure.hosts.engine_socket import no_answer, no_permission

        where = self.endpoint or self.program
        if _REFUSED.search(done.complaint):
            raise no_permission(where)
        found = _UNREACHABLE.search(done.complaint)
        if found:
            said = done.complaint[found.start() :].splitlines()[0]
            raise no_answer(where, said, hint=None if self.is_local() else ELSEWHERE)


def find_engine(
    settings: Settings, environ: Mapping[str, str] | None = None, *, building: bool = False
) -> Engine:
    """Return the engine that the user's settings and environment name, once it can be reached.

    `building`: its client has to be one that builds with BuildKit, and clients are asked for that.
    A unix socket is connected to, nothing is asked; an engine elsewhere is asked for its version.

    Raises:
        MissingProgram: there is no client.
        EnvironmentFailed: no client that is there can build.
        EngineUnreachable: no engine answers, or not this user.
        TimeoutExpired: one elsewhere does not answer in time.
    """
    given = dict(os.environ if environ is None else environ)
    # One platform is locked; BuildKit is what is built for; colours are for terminals.
    given.pop("DOCKER_DEFAULT_PLATFORM", None)
    given |= {"DOCKER_BUILDKIT": "1", "DOCKER_CLI_HINTS": "false"}
    if settings.docker.endpoint is not None:
        given.pop("DOCKER_CONTEXT", None)
        given |= {"DOCKER_HOST": settings.docker.endpoint}
    program = find_program(settings.docker.program, given, building=building)
    kind = PODMAN if is_podman(program) else DOCKER
    engine = Engine(program, given, kind, endpoint_of(program, given))
    _refuse_silent(engine)
    return engine


def _refuse_silent(engine: Engine) -> None:
    if engine.socket is not None:
        from perdure.hosts.engine_socket import reach

        reach(engine.socket)
    elif engine.kind == DOCKER:
        where = engine.endpoint or engine.program
        try:
            done = engine.run(["version", "--format", "{{.Server.Version}}"], timeout_s=REACH_S)
        except TimeoutExpired as error:
            said = f"the container engine at `{where}` did not answer within {REACH_S:g} s"
            raise TimeoutExpired(said, hint=ELSEWHERE) from error
        if done.returncode != 0:
            unknown = _NO_CONTEXT.search(done.complaint)
            said = f"no container engine answers at `{where}`: {done.complaint}"
            if unknown:
                said = f"the client `{engine.program}` has no context `{unknown[1]}`"
            raise EngineUnreachable(said, hint=ELSEWHERE)


def _with_gpus(found: EngineVersion) -> EngineVersion:
    from dataclasses import replace

    return replace(found, gpus=True)
