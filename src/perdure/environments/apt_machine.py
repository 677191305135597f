"""What this machine tells apt: its mirrors for a release, proxies and passwords, for a while only.

They are handed to a container for the time of one command, and stand in no lock and no image.
Source: sources.list(5), apt.conf(5), apt_auth.conf(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from perdure.errors import PerdureError
from perdure.hosts import local

ETC = Path("/etc/apt")

_DUMP_S = 20.0
# The archives that every base image knows; a machine that uses these tells nothing new.
_PUBLIC = frozenset(
    (
        *("deb.debian.org", "security.debian.org", "archive.debian.org"),
        *("archive.ubuntu.com", "security.ubuntu.com", "ports.ubuntu.com"),
    )
)
_KEYRING = re.compile(r"/usr/share/keyrings/(?:debian|ubuntu)-archive-\S*|")
_ONE_LINE = re.compile(
    r"deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)(?P<of>.*)"
)
_KEPT = re.compile(
    r"Acquire::(?:Check-Valid-Until|Check-Date|Retries|ForceIPv4|ForceIPv6"
    r"|https?::(?:Proxy(?:::\S+)?|Timeout)) \"[^\"]+\";"
)


@dataclass(frozen=True, slots=True)
class AptSettings:
    """Texts of files for apt, each empty where there is nothing to tell.

    `sources` in the format of a `.sources` file, `conf` in that of apt.conf, `auth` as in netrc.
    """

    sources: str = ""
    conf: str = ""
    auth: str = ""


def machine_apt(release: str, etc: Path = ETC) -> AptSettings:
    """Return what this machine's apt is told that a base image of `release` is not.

    Mirrors only of the release that the image has; archives with keys of their own are left out, as
    an image has not got those. Reads files, and runs apt-config where there is one.
    """
    entries = [each for each in _entries(etc) if each.suite.partition("-")[0] == release]
    mirrored = any(urlsplit(each.uri).hostname not in _PUBLIC for each in entries)
    return AptSettings(
        sources="\n".join(map(_stanza, entries)) if release and mirrored else "",
        conf=_conf() if etc == ETC else "",
        auth="".join(_auth(etc)) if mirrored else "",
    )


@dataclass(frozen=True, slots=True)
class _Entry:
    uri: str
    suite: str
    components: str


def _entries(etc: Path) -> Iterator[_Entry]:
    folder = etc / "sources.list.d"
    for file in [etc / "sources.list", *sorted(folder.glob("*.list"))]:
        for line in _text(file).splitlines():
            found = _ONE_LINE.match(line.strip())
            if found and _KEYRING.fullmatch(_signed_by(found["options"] or "")):
                yield _Entry(found["uri"], found["suite"], found["of"].partition("#")[0].strip())
    for file in sorted(folder.glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", _text(file)):
            yield from _of_stanza(_fields(stanza))


def _of_stanza(fields: dict[str, str]) -> Iterator[_Entry]:
    off = fields.get("enabled", "yes").lower() in ("no", "false", "0")
    if off or "deb" not in fields.get("types", "").split():
        return
    if not _KEYRING.fullmatch(fields.get("signed-by", "")):
        return
    for uri in fields.get("uris", "").split():
        for suite in fields.get("suites", "").split():
            yield _Entry(uri, suite, fields.get("components", ""))


def _fields(stanza: str) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1].isspace() and name:
            found[name] += f" {line.strip()}"
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.lower()
            found[name] = value.strip()
    return found


def _signed_by(options: str) -> str:
    found = re.search(r"signed-by=(\S+)", options)
    return found[1] if found else ""


def _stanza(entry: _Entry) -> str:
    components = f"Components: {entry.components}\n" if entry.components else ""
    return f"Types: deb\nURIs: {entry.uri}\nSuites: {entry.suite}\n{components}"


def _conf() -> str:
    try:
        dumped = local.run(["apt-config", "dump"], timeout_s=_DUMP_S)
    except PerdureError:
        # No Debian: there is no apt here that could have been told anything.
        return ""
    return "".join(f"{line}\n" for line in dumped.text.splitlines() if _KEPT.fullmatch(line))


def _auth(etc: Path) -> Iterable[str]:
    files = [etc / "auth.conf", *sorted((etc / "auth.conf.d").glob("*.conf"))]
    return (f"{text.rstrip()}\n" for text in map(_text, files) if text.strip())


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8", "replace")
    except OSError:
        # Not there, or not for us.
        return ""
