"""The environment of a project on another host: the same locked packages, installed there.

What comes from an index is fetched by that host, with its own settings for pip and uv; what lies
on this machine, wheels and uv itself, is sent.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from perdure.environments import away, sync
from perdure.environments.lock import LockInfo, read_manifest, require_lock
from perdure.environments.requirements import export
from perdure.environments.uv import find_uv, run_uv, this_machine
from perdure.errors import EnvironmentFailed
from perdure.hosts.host import Host
from perdure.hosts.sending import send
from perdure.model.image import Requirement
from perdure.model.project import Project
from perdure.model.report import Report
from perdure.model.settings import Settings

_STATE = ".perdure"
_INSTALL_S = 3600.0


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """An installed environment on a host: its folder there, and what it was made of."""

    prefix: str
    lock_digest: str
    variant: str | None
    python: str


def ensure_environment_on(
    host: Host,
    root: str,
    project: Project,
    settings: Settings,
    variant: str | None = None,
    *,
    report: Report,
) -> Elsewhere:
    """Return the environment of the project's lock on a host, installed there if it is missing.

    `root` is where the project lies there. Touches disk and network on both sides.

    Raises:
        EnvironmentFailed: no such variant, an old lock, conda, or uv could not install.
        HostUnreachable: the host does not answer.
        StorageError: no space there.
    """
    chosen = sync.choose_variant(project, settings, variant)
    lock = require_lock(project, settings, report=report)
    name = sync.handle_of(project, lock.digest, chosen).prefix.name
    prefix = f"{_STATE}/environments/{name}"
    found = host.call(away.look, root, prefix)
    python = found["python"]
    if python is None:
        _refuse_conda(project, host)
        uv = _send_uv(host, found["root"], (found["system"], found["machine"]), report)
        packages = export(project, settings, chosen)
        places = _send_wheels(host, found["root"], packages, report)
        told = _told(project, settings, replace(lock, variant=chosen))
        wanted = {"uv": uv, "files": _files(packages, places), **told}
        report(f"installing the environment ({chosen or 'default'}) on `{host.name}` with uv")
        python = host.call_long(
            away.install, root, prefix, wanted, timeout_s=_INSTALL_S, on_line=report
        )
    return Elsewhere(f"{found['root']}/{prefix}", lock.digest, chosen, python)


def pythons(declared: str | None, requires: str) -> list[str]:
    """Return what uv is to look for, the best first: the minor version of here, else what fits."""
    from perdure.environments.interpreter import satisfies

    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    fitting = declared or requires or ""
    first = [here] if satisfies(f"{here}.99", declared, requires) else []
    return list(dict.fromkeys([*first, fitting]))


def _told(project: Project, settings: Settings, lock: LockInfo) -> dict[str, object]:
    """Return what the other half is told of the project; see `away.install`."""
    manifest = read_manifest(project)
    script = Path(__file__).with_name("warm.py").read_text()
    return {
        "pythons": pythons(project.environment.python, manifest.requires_python),
        "marker": {"format": 1, "lock": lock.digest, "variant": lock.variant},
        "lock": lock.path.read_text(),
        "logins": [each.url for each in settings.indexes.values() if "@" in each.url],
        "warm": {"script": script, "names": sorted(manifest.direct(lock.variant))},
    }


def _files(packages: tuple[Requirement, ...], places: Mapping[Path, str]) -> dict[str, str]:
    """Return the text of a requirement file for each index, "" for uv's own."""
    files: dict[str, str] = {}
    for each in packages:
        own = each.file is not None or each.url is not None
        index = "" if own else each.index or ""
        files[index] = files.get(index, "") + _line(each, places)
    return files


def _line(each: Requirement, places: Mapping[Path, str]) -> str:
    wanted = f"{each.name}=={each.version}"
    if each.file is not None:
        wanted = f"{each.name} @ file://{quote(places[each.file])}"
    elif each.url is not None:
        wanted = f"{each.name} @ {each.url}"
    if each.marker:
        wanted += f" ; {each.marker}"
    hashes = (f"--hash={digest}" for digest in sorted(each.hashes))
    return " \\\n    ".join([wanted, *hashes]) + "\n"


def _send_wheels(
    host: Host, root: str, packages: tuple[Requirement, ...], report: Report
) -> dict[Path, str]:
    """Return where the packages that lie on this machine lie there, sent if need be."""
    places = {}
    for each in packages:
        if each.file is not None:
            digest = next(iter(each.hashes), "sha256:unknown").partition(":")[2][:16]
            there = f"{root}/{_STATE}/wheels/{digest}/{each.file.name}"
            report(f"sending {each.file.name} to `{host.name}`")
            send(host, each.file, there)
            places[each.file] = there
    return places


def _send_uv(host: Host, root: str, kind: tuple[str, str], report: Report) -> str:
    """Return the path of uv there: this machine's own, sent if need be.

    Raises:
        EnvironmentFailed: the host is of another kind, and has no uv itself.
    """
    from perdure.hosts import question

    here = _kind_of_here()
    if kind != here:
        done = host.run(["sh", "-c", "command -v uv"], timeout_s=question.ASK_S)
        if done.returncode == 0:
            return done.text
        raise EnvironmentFailed(
            f"`{host.name}` is {' '.join(kind)}, this machine {' '.join(here)}, and there is no "
            "uv there",
            hint="install uv there: https://docs.astral.sh/uv/",
        )
    program = Path(find_uv(this_machine().environ)).resolve()
    environ = this_machine().environ
    version = run_uv(
        ["--version"], cwd=program.parent, environ=environ, timeout_s=60.0, report=report
    ).split()[1]
    there = f"{root}/{_STATE}/uv/{version}/uv"
    send(host, program, there)
    return there


def uv_on(host: Host, root: str, report: Report) -> str:
    """Return the path of uv on a host, sent there if need be; `root` is the project's there.

    Raises:
        EnvironmentFailed: as `ensure_environment_on`.
    """
    if host.is_here:
        return find_uv(this_machine().environ)
    found = host.call(away.look, root, _STATE)
    return _send_uv(host, found["root"], (found["system"], found["machine"]), report)


def _kind_of_here() -> tuple[str, str]:
    import os

    system = os.uname()
    return system.sysname.lower(), system.machine


def _refuse_conda(project: Project, host: Host) -> None:
    if project.environment.conda is not None:
        raise EnvironmentFailed(
            f"conda's packages are not installed on `{host.name}` outside of an image",
            hint='`engine = "docker"` for that target',
        )
