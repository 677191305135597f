"""The environments of this machine in which somebody may have installed something by hand."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from perdure.environments.drift import Before, Drift, drift_between
from perdure.environments.edit import declared_names
from perdure.environments.expected import expected
from perdure.environments.installed import read_container, read_prefix
from perdure.environments.lock import lock_digest
from perdure.environments.revision import places
from perdure.environments.sync import choose_variant, handle_of, is_complete
from perdure.environments.wanted import Kind, key
from perdure.errors import EnvironmentFailed
from perdure.hosts.engine import Engine
from perdure.model.project import Project
from perdure.model.settings import Settings

# Where the development stage of an image has its Python.
_PYTHON = "/opt/dev/bin/python"


def local_prefixes(
    project: Project, settings: Settings, environ: Mapping[str, str] | None = None
) -> tuple[Path, ...]:
    """Return the environments of this machine: `.venv`, the one activated, that of jobs.

    The one in which this program runs itself is no environment of the project, but for `.venv`.
    """
    environ = os.environ if environ is None else environ
    own = project.root / ".venv"
    active = Path(environ.get("VIRTUAL_ENV") or own)
    handle = handle_of(project, lock_digest(project) or "", choose_variant(project, settings, None))
    found = [own, *([active] if active.resolve() != Path(sys.prefix).resolve() else [])]
    found += [handle.prefix] if is_complete(handle) else []
    known = {each.resolve(): each for each in reversed(found) if (each / "pyvenv.cfg").is_file()}
    return tuple(reversed(known.values()))


def drift_of_prefix(project: Project, prefix: Path) -> Drift:
    """Return what was installed by hand in a virtual environment, against the project's lock.

    Raises:
        EnvironmentFailed: it is none, or cannot be compared.
    """
    if lock_digest(project) is None:
        raise EnvironmentFailed(
            "there is no lock to compare with what is installed", hint="perdure lock"
        )
    now = read_prefix(prefix)
    before = expected(project, prefix, now)
    label = prefix.relative_to(project.root) if prefix.is_relative_to(project.root) else prefix
    return drift_between(f"`{label}`", before, now, _itself(project), _declared(project))


def drift_of_container(project: Project, engine: Engine, name: str, image: str) -> Drift:
    """Return what was installed by hand in a running container, against its own image.

    Raises:
        EnvironmentFailed: it does not run, or is not a development container.
        EngineUnreachable: no engine answers.
    """
    # In the foreground and removed: the image as it is, with nothing of this project's.
    fresh = ("run", "--rm", "--interactive", "--network", "none", "--entrypoint", "")
    was = read_container(engine, (*fresh, image), _PYTHON)
    now = read_container(engine, ("exec", "--interactive", name), _PYTHON)
    conda = {each.name: each.version for each in was.conda}
    before = Before(was.versions, conda, was.manual)
    return drift_between(
        "the development container", before, now, _itself(project), _declared(project)
    )


def _itself(project: Project) -> tuple[str, ...]:
    return (key(Kind.PIP, project.name),)


def _declared(project: Project) -> dict[Kind, frozenset[str]]:
    """Return the names that the project declares, wherever, by who installs them."""
    found: dict[Kind, frozenset[str]] = {}
    for place in places(project):
        names = declared_names(project, place)
        found[place.kind] = found.get(place.kind, frozenset()) | names
    return found
