"""What apt was told on this machine: where its packages come from, through which proxy, as whom.

Source: sources.list(5), apt.conf(5), apt_auth.conf(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from perdure.environments.machine import read_files

_ETC = Path("/etc")
_RELEASE = re.compile(r'^VERSION_CODENAME="?([a-z]+)"?$', re.MULTILINE)
_LINE = re.compile(
    r"deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<parts>.+)"
)
# The options that help to reach a mirror; no program of this machine is named in them.
_OPTION = re.compile(
    r"^\s*(Acquire::(?:(?:https?|ftp)::(?:\S+::)?(?:Proxy|Timeout|Verify-Peer)|Check-Valid-Until"
    r'|Check-Date|Retries)\s+"[^"]*";)\s*$',
    re.MULTILINE,
)
_DEBIANS = "/usr/share/keyrings/debian-archive-keyring.gpg"


@dataclass(frozen=True, slots=True)
class Apt:
    """Sources (deb822), options (apt.conf) and logins (netrc) for apt; "" where there are none."""

    sources: str = ""
    options: str = ""
    logins: str = ""


def read_apt(release: str, etc: Path = _ETC) -> Apt:
    """Return what serves an image of that Debian release. Reads the files of apt, if any.

    Of the sources, those that Debian's own key signs, and only if this machine has that release.
    """
    apt = etc / "apt"
    options = read_files([*sorted((apt / "apt.conf.d").glob("*")), apt / "apt.conf"])
    logins = read_files([*sorted((apt / "auth.conf.d").glob("*.conf")), apt / "auth.conf"])
    own = _RELEASE.search("".join(read_files([etc / "os-release"])))
    sources: list[str] = []
    if own and own[1] == release:
        lists = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.list"))]
        sources += _from_lists(read_files(lists), release)
        sources += _from_stanzas(
            read_files(sorted((apt / "sources.list.d").glob("*.sources"))), release
        )
    found = (line for text in options for line in _OPTION.findall(text))
    return Apt("\n".join(sources), "".join(f"{line}\n" for line in found), "\n".join(logins))


def _from_lists(texts: Iterable[str], release: str) -> Iterator[str]:
    for line in (line.strip() for text in texts for line in text.splitlines()):
        found = _LINE.fullmatch(line)
        if (
            found
            and found["suite"].startswith(release)
            and "signed-by" not in (found["options"] or "").replace(f"signed-by={_DEBIANS}", "")
        ):
            yield (
                f"Types: deb\nURIs: {found['uri']}\nSuites: {found['suite']}\n"
                f"Components: {found['parts'].split('#')[0].strip()}\nSigned-By: {_DEBIANS}\n"
            )


def _from_stanzas(texts: Iterable[str], release: str) -> Iterator[str]:
    for stanza in (stanza for text in texts for stanza in re.split(r"\n\s*\n", text)):
        lines = [line for line in stanza.splitlines() if not line.startswith("#")]
        fields = {
            name.strip().lower(): value.strip()
            for name, _, value in (x.partition(":") for x in lines)
        }
        signed = fields.get("signed-by", _DEBIANS)
        suites = fields.get("suites", "").split()
        plain = fields.get("types") == "deb" and fields.get("enabled", "yes") == "yes"
        if plain and signed == _DEBIANS and suites and all(s.startswith(release) for s in suites):
            yield "\n".join(lines) + "\n"
