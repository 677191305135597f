"""What a build sees of this machine while it runs, and no image keeps: mirrors, proxies, passwords.

All of it goes in as BuildKit secrets: files in a memory of their own, there for one step, in no
layer, no history and no cache key. Here they travel in the client's environment, so that not even
this machine's disk holds them; a certificate bundle, which is public, is handed over as the file
that it is.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from perdure.environments.apt_machine import machine_apt
from perdure.environments.machine import local_folder, pip_files, pip_options, read_files
from perdure.environments.uv import this_machine
from perdure.errors import UsageError
from perdure.model.settings import Index

LARGEST_KIB = 500
# A single variable of a process's environment may be no longer.
LARGEST_VARIABLE = 128 << 10

_PREFIX = "PERDURE_SECRET_"
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_UV = (
    *("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_INDEX_STRATEGY"),
    *("UV_INSECURE_HOST", "UV_HTTP_TIMEOUT", "UV_PYTHON_INSTALL_MIRROR", "UV_NATIVE_TLS"),
)
_CREDENTIALS = re.compile(r"UV_INDEX_.+_(?:USERNAME|PASSWORD)")
_PIP = ("index-url", "extra-index-url", "trusted-host", "timeout", "proxy")
_LISTS = frozenset(("UV_INDEX", "UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL"))
_LOOPBACK = re.compile(r"//(?:[^/@\s]*@)?(?:localhost|127\.[0-9.]+|\[::1\])(?=[:/\s'\"]|$)")


@dataclass(frozen=True, slots=True)
class Secrets:
    """The secrets of a build by id: contents that are secret, and files that are not."""

    contents: Mapping[str, str]
    files: Mapping[str, Path]

    def words(self) -> list[str]:
        """Return what tells the client of them; no value is in it."""
        found = [
            f"--secret=id={name},env={_PREFIX}{name.upper()}" for name in sorted(self.contents)
        ]
        files = sorted(self.files.items())
        return [*found, *(f"--secret=id={name},{_field(f'src={file}')}" for name, file in files)]

    def environ(self) -> dict[str, str]:
        """Return the variables, for the client's environment only, that hold the contents."""
        return {f"{_PREFIX}{name.upper()}": text for name, text in self.contents.items()}

    @property
    def loopback(self) -> bool:
        """Return whether any of them leads to this machine's loopback, as a tunnel's end does."""
        return any(_LOOPBACK.search(text) for text in self.contents.values())


def machine_secrets(
    release: str, indexes: Mapping[str, Index], environ: Mapping[str, str] | None = None
) -> Secrets:
    """Return what this machine was told of indexes, mirrors, proxies and certificates.

    `release` is the Debian release of the image: this machine's apt sources serve it only if it is
    this machine's too. Reads pip's, apt's and netrc's files.

    Raises:
        UsageError: something is too large for a secret.
    """
    given = dict(os.environ if environ is None else environ)
    told = this_machine(given).environ
    apt = machine_apt(release)
    contents = {
        "machine": _exports(told, given),
        "netrc": _netrc(told, indexes, given),
        "apt_sources": apt.sources,
        "apt_conf": apt.conf,
        "apt_auth": apt.auth,
    }
    found = {name: text for name, text in contents.items() if text}
    for name, text in found.items():
        if len(text.encode()) >= LARGEST_VARIABLE:
            raise UsageError(f"this machine's settings are too large for a build: `{name}`")
    return Secrets(found, _certificates(told))


def _exports(told: Mapping[str, str], given: Mapping[str, str]) -> str:
    """Return the lines of shell that a step reads: what uv and pip are told, and proxies."""
    found = {name: told[name] for name in _UV if told.get(name)}
    found |= {name: value for name, value in told.items() if _CREDENTIALS.fullmatch(name)}
    pip = pip_options(given, read_files(pip_files(given)))
    found |= {f"PIP_{n.upper().replace('-', '_')}": pip[n] for n in _PIP if pip.get(n)}
    for name in _PROXIES:
        value = told.get(name) or told.get(name.lower())
        if value:
            found |= {name: value, name.lower(): value}
    remote = {name: _remote(name, value) for name, value in found.items()}
    lines = (f"export {name}={shlex.quote(value)}" for name, value in remote.items() if value)
    return "".join(f"{line}\n" for line in sorted(lines))


def _remote(name: str, value: str) -> str:
    """Return a setting without the folders of this machine: what is in them is brought along."""
    if name in _LISTS:
        return " ".join(each for each in value.split() if _elsewhere(each))
    return value if _elsewhere(value) or name in ("NO_PROXY", "no_proxy") else ""


def _elsewhere(value: str) -> bool:
    """Return whether a value does not name a folder here. `NAME=URL` is how uv has an index."""
    place = value.partition("=")[2] if re.match(r"[\w.-]+=", value) else value
    return local_folder(place) is None or not ("://" in place or place.startswith("/"))


def _netrc(
    told: Mapping[str, str], indexes: Mapping[str, Index], environ: Mapping[str, str]
) -> str:
    """Return the logins for hosts: the user's own netrc, after those that URLs carry."""
    urls = [each.url for each in indexes.values()]
    urls += [url for name in _UV if "INDEX" in name for url in told.get(name, "").split()]
    lines = dict.fromkeys(line for url in urls for line in _logins(url))
    home = environ.get("NETRC") or str(Path(environ.get("HOME", "/"), ".netrc"))
    own = "".join(read_files([Path(home)]))
    return "".join(f"{line}\n" for line in lines) + own


def _logins(url: str) -> Iterator[str]:
    parts = urlsplit(url)
    if parts.hostname and parts.password:
        user, password = unquote(parts.username or ""), unquote(parts.password)
        if not re.search(r"\s", user + password):
            yield f"machine {parts.hostname} login {user} password {password}"


def _certificates(told: Mapping[str, str]) -> dict[str, Path]:
    named = told.get("SSL_CERT_FILE", "")
    if not named or not Path(named).is_file():
        return {}
    file = Path(named).resolve()
    if file.stat().st_size > LARGEST_KIB << 10:
        raise UsageError(
            f"`{named}` is too large for a build: a secret holds {LARGEST_KIB} KiB at most",
            hint="SSL_CERT_FILE=FILE with your own authority's certificates alone",
        )
    return {"ca": file}


def _field(text: str) -> str:
    """Return a field of a CSV file, which is how the client reads what it is told of a secret."""
    if not re.search(r'[",\r\n]', text):
        return text
    return '"' + text.replace('"', '""') + '"'
