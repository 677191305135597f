"""This machine's mirrors, proxies, passwords and certificates in a container that runs: as files.

They are what a build gets as secrets. They lie in a folder of the user's own that nobody else may
enter, which the container sees; an engine that is asked about the container knows its path and no
more. What runs in the container by `perdure shell` gets them as variables.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from perdure.development.standing import Session
from perdure.environments.machine import find_links, pip_files, read_files
from perdure.errors import UsageError
from perdure.images.mounts import Mount
from perdure.images.secrets import Secrets
from perdure.jobs.workspace import storing
from perdure.model.image import ImageUser

MACHINE = "/run/perdure/machine"
WHEELS = "/run/perdure/wheels"
ENVIRONMENT = f"{MACHINE}/environment"
#: Before a command: what is handed over, where anything is.
READ = f"if [ -r {ENVIRONMENT} ]; then . {ENVIRONMENT}; fi"

_CERTIFICATES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_GIT = "GIT_SSL_CAINFO"


@dataclass(frozen=True, slots=True)
class Handed:
    """What is handed over: small files by name, folders of wheels, and whether at this loopback."""

    files: Mapping[str, bytes]
    wheels: tuple[Path, ...] = ()
    loopback: bool = False

    def mounts(self, folder: Path) -> tuple[Mount, ...]:
        """Return the mounts by which a container sees it, all to be read only."""
        wheels = (
            Mount(os.path.realpath(each), f"{WHEELS}/{number}", read_only=True)
            for number, each in enumerate(self.wheels)
        )
        return (Mount(os.path.realpath(folder), MACHINE, read_only=True), *wheels)

    def words(self) -> tuple[str, ...]:
        """Return what else the engine is told: a tunnel's end is at this machine's loopback."""
        return ("--network", "host") if self.loopback else ()


def handed_over(session: Session) -> Handed:
    """Return what this machine was told of mirrors, proxies and certificates. Reads their files.

    Raises:
        UsageError: something of it is too large.
    """
    from perdure.environments.pinned import read_pinned
    from perdure.images.secrets import machine_secrets

    environ = session.engine.environ
    lock = read_pinned(session.project)
    release = lock.base.release if lock is not None and lock.base is not None else ""
    secrets = machine_secrets(release, session.workspace.settings.indexes, environ)
    wheels = find_links(environ, read_files(pip_files(environ)))
    return Handed(files_of(secrets, len(wheels)), wheels, secrets.loopback)


def files_of(secrets: Secrets, wheels: int) -> Mapping[str, bytes]:
    """Return the files that a container reads, with so many folders of wheels. Reads certificates.

    `environment` is for a shell; it names the others.
    """
    names = {"netrc": "netrc", "apt_sources": "apt.sources", "apt_auth": "apt.auth"}
    texts = {names[key]: text for key, text in secrets.contents.items() if key in names}
    texts["apt.conf"] = _apt(secrets)
    contents = {name: text.encode() for name, text in texts.items() if text}
    contents |= {f"{name}.pem": file.read_bytes() for name, file in secrets.files.items()}
    lines = [secrets.contents.get("machine", "")]
    lines += [_export("NETRC", f"{MACHINE}/netrc")] if "netrc" in contents else []
    lines += [_export("APT_CONFIG", f"{MACHINE}/apt.conf")] if "apt.conf" in contents else []
    if "ca.pem" in contents:
        lines += [_export(name, f"{MACHINE}/ca.pem") for name in (*_CERTIFICATES, _GIT)]
    if wheels:
        folders = [f"{WHEELS}/{number}" for number in range(wheels)]
        lines += [_export("PIP_FIND_LINKS", " ".join(folders))]
        lines += [_export("UV_FIND_LINKS", ",".join(folders))]
    return {**contents, "environment": "".join(lines).encode()}


def folder_of(session: Session) -> Path:
    """Return the folder of this user's in which the files for the project's container lie."""
    environ = session.engine.environ
    home = environ.get("HOME") or str(Path("~").expanduser())
    cache = environ.get("XDG_CACHE_HOME") or f"{home}/.cache"
    return Path(cache, "perdure", "machine", session.container)


def write(folder: Path, files: Mapping[str, bytes], user: ImageUser) -> None:
    """Make the folder hold the files, for the container's user alone; one that is there stays.

    Raises:
        StorageError: it cannot be written.
        UsageError: the container's user is somebody else.
    """
    if os.geteuid() not in (0, user.user_id):
        raise UsageError(
            f"`--mirrors`: the container runs as user {user.user_id}, and you are {os.geteuid()}: "
            "what is yours alone it cannot read",
            hint="leave `user_id` out of `[docker]` in your settings",
        )
    with storing("what is handed over to the container"):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        for stale in folder.iterdir():
            if stale.name not in files:
                stale.unlink()
        for name, content in files.items():
            _write(folder / name, content)
        if os.geteuid() == 0:
            for path in (folder, *folder.iterdir()):
                os.chown(path, user.user_id, user.group_id, follow_symlinks=False)


def remove(folder: Path) -> None:
    """Remove the folder; none there is right too."""
    shutil.rmtree(folder, ignore_errors=True)


def with_machine(command: tuple[str, ...]) -> tuple[str, ...]:
    """Return a command that has what is handed over, where anything is, as its variables."""
    return ("sh", "-c", f'{READ}; exec "$@"', "sh", *command)


def _write(file: Path, content: bytes) -> None:
    # Never readable by others, and never a file that somebody else has put there.
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
        opened.write(content)


def _apt(secrets: Secrets) -> str:
    lines = [secrets.contents.get("apt_conf", "")]
    if secrets.contents.get("apt_sources"):
        lines.append(f'Dir::Etc::sourcelist "{MACHINE}/apt.sources";\nDir::Etc::sourceparts "-";\n')
    if secrets.contents.get("apt_auth"):
        lines.append(f'Dir::Etc::netrc "{MACHINE}/apt.auth";\n')
    if "ca" in secrets.files:
        lines.append(f'Acquire::https::CaInfo "{MACHINE}/ca.pem";\n')
    # What is for the container's user and root only, apt's own user cannot read.
    return "".join(['APT::Sandbox::User "root";\n', *lines]) if any(lines) else ""


def _export(name: str, value: str) -> str:
    return f"export {name}={shlex.quote(value)}\n"
