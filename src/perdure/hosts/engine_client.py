"""Which client program speaks to the engine, and where that engine is."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from perdure.errors import EnvironmentFailed, MissingProgram
from perdure.hosts.engine_socket import LOCAL

DOCKER = "docker"
PODMAN = "podman"
DEFAULT = "unix:///var/run/docker.sock"
UNIX = "unix://"

_ASK_S = 15.0
# From this major version on, Docker's client builds through its plug-in buildx only.
_NEEDS_BUILDX = 23
_SCRIPT_BYTES = 4096
_LEADS = re.compile(rb"^\s*exec\s+(?:\S*/)?podman\s", re.MULTILINE)


def find_program(chosen: str | None, environ: Mapping[str, str], *, building: bool) -> str:
    """Return the path of the client: what the user chose, else docker, else podman.

    For building, the first of them that can build. Then, and only then, clients are run.

    Raises:
        MissingProgram: there is none.
        EnvironmentFailed: none of those that are there can build.
    """
    names = (chosen,) if chosen else (DOCKER, PODMAN)
    found = [path for name in names for path in _all(name, environ)]
    if not found:
        listed = " nor ".join(f"`{name}`" for name in names)
        raise MissingProgram(
            f"no container engine: {'no' if chosen else 'neither'} {listed} was found",
            program=names[0],
            hint=f"install Docker or Podman, or {LOCAL}",
        )
    if not building:
        return found[0]
    able = next((path for path in found if can_build(path, environ)), None)
    if able is None:
        raise EnvironmentFailed(
            f"`{found[0]}` cannot build: it has no buildx",
            hint="install it (Debian: `sudo apt-get install docker-buildx`; elsewhere: "
            "docker-buildx-plugin)",
        )
    return able


def can_build(program: str, environ: Mapping[str, str]) -> bool:
    """Return whether a client builds with BuildKit. Runs it, for up to 15 s."""
    if is_podman(program):
        return True
    from perdure.hosts import local

    if local.run([program, "buildx", "version"], env=environ, timeout_s=_ASK_S).returncode == 0:
        return True
    said = local.run([program, "--version"], env=environ, timeout_s=_ASK_S).text
    major = said.removeprefix("Docker version ").partition(".")[0]
    return major.isdecimal() and int(major) < _NEEDS_BUILDX


def is_podman(program: str) -> bool:
    """Return whether a client is podman's, by its name, or is a `docker` that leads to it.

    Debian's podman-docker, for one, has a script of that name. Reads the beginning of a script.
    """
    if Path(program).name.startswith(PODMAN) or Path(program).resolve().name == PODMAN:
        return True
    try:
        with Path(program).open("rb") as file:
            return file.read(2) == b"#!" and _LEADS.search(file.read(_SCRIPT_BYTES)) is not None
    except OSError:
        return False


def endpoint_of(program: str, environ: Mapping[str, str]) -> str:
    """Return where the client finds its engine, such as `unix:///var/run/docker.sock`.

    "" where only the client knows. Reads Docker's config.json; runs the client only if that, or
    the environment, names a context.
    """
    if is_podman(program):
        return environ.get("CONTAINER_HOST") or _podman_socket(environ)
    if environ.get("DOCKER_HOST"):
        return environ["DOCKER_HOST"]
    context = environ.get("DOCKER_CONTEXT") or _configured_context(environ)
    if context in ("", "default"):
        return DEFAULT
    from perdure.hosts import local

    words = ["context", "inspect", "--format", "{{.Endpoints.docker.Host}}", context]
    answer = local.run([program, *words], env=environ, timeout_s=_ASK_S)
    return answer.text if answer.returncode == 0 else ""


def _configured_context(environ: Mapping[str, str]) -> str:
    home = environ.get("HOME") or str(Path("~").expanduser())
    folder = Path(environ.get("DOCKER_CONFIG") or Path(home) / ".docker")
    try:
        document = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return ""
    context = document.get("currentContext") if isinstance(document, dict) else None
    return context if isinstance(context, str) else ""


def _podman_socket(environ: Mapping[str, str]) -> str:
    """Return podman's socket if its service runs: podman needs none."""
    runtime = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    place = Path("/run" if os.getuid() == 0 else runtime) / "podman" / "podman.sock"
    return f"{UNIX}{place}" if place.exists() else ""


def _all(name: str, environ: Mapping[str, str]) -> Iterator[str]:
    """Return every program of that name on PATH, the first first; one file counts once."""
    if "/" in name:
        found = shutil.which(name)
        if found:
            yield found
        return
    seen = set()
    for folder in environ.get("PATH", os.defpath).split(os.pathsep):
        found = shutil.which(name, path=folder) if folder else None
        if found and (real := os.path.realpath(found)) not in seen:
            seen.add(real)
            yield found
