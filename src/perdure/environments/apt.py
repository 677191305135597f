"""Debian packages locked: for each stage every file that the base image lacks, with its digest.

apt itself is asked, in a container of the base image that is thrown away. Source: apt-get(8),
`--print-uris`; `Acquire::ForceHash` makes it print SHA-256.
"""

from __future__ import annotations

import base64
import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import unquote

from perdure.environments.apt_machine import AptSettings, machine_apt
from perdure.environments.machine import masked
from perdure.errors import EnvironmentFailed, TimeoutExpired
from perdure.hosts.engine import Engine
from perdure.model.debian import STAGES
from perdure.model.image import AptPackage, Base
from perdure.model.report import Report, silent

#: What stages have without being asked: HTTPS for every program, and what people at work reach for.
DEFAULTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"build": (), "runtime": ("ca-certificates",), "dev": ("git", "openssh-client", "less")}
)
#: The stage whose packages lie below another's, in an image.
_BELOW = {"dev": "runtime"}
_PYTHON = ("python3",)
_TIMEOUT_S = 600.0
_NEAR = 3
_SUFFIX = "+python"
# The client hands over its own variable of that name; its value is in no command line.
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")

_URI = re.compile(r"'[^']*' (?P<file>\S+_\S+\.deb) (?P<size>\d+) SHA256:(?P<sha256>[0-9a-f]{64})")
_MARK = "@perdure "

_SCRIPT = """\
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
options='-q -o APT::Sandbox::User=root -o Acquire::ForceHash=SHA256 -o APT::Update::Error-Mode=any'
cd /tmp
if [ -n "$sources" ]; then
  echo "$sources" | base64 -d > machine.sources
  options="$options -o Dir::Etc::sourcelist=/tmp/machine.sources -o Dir::Etc::sourceparts=-"
fi
if [ -n "$conf" ]; then
  echo "$conf" | base64 -d > machine.conf
  export APT_CONFIG=/tmp/machine.conf
fi
if [ -n "$auth" ]; then
  echo "$auth" | base64 -d > machine.auth
  options="$options -o Dir::Etc::netrc=/tmp/machine.auth"
fi
if ! apt-get $options update > said 2>&1; then
  echo '@perdure unreachable'
  cat said
  exit 0
fi
apt-cache $options pkgnames > names
for package in $declared; do
  if ! grep -Fxq -e "${package%%=*}" names; then
    echo "@perdure missing ${package%%=*}"
    missing=1
  fi
done
if [ -n "${missing:-}" ]; then
  echo '@perdure names'
  cat names
  exit 0
fi
echo "@perdure python $(apt-cache $options policy python3 | sed -n 's/^ *Candidate: //p')"
install="apt-get $options install --print-uris --yes --no-install-recommends"
closure() {
  echo "@perdure stage $1"
  shift
  if [ $# -gt 0 ] && ! $install "$@" 2> said; then
    echo '@perdure refused'
    cat said
  fi
}
"""


@dataclass(frozen=True, slots=True)
class AptLock:
    """The packages of each stage that the base lacks, and the version of Debian's Python."""

    stages: Mapping[str, tuple[AptPackage, ...]]
    with_python: Mapping[str, tuple[AptPackage, ...]]
    python: str | None


@dataclass(frozen=True, slots=True)
class Asked:
    """The packages of each stage as people ask for them, where they do, and whether for Python.

    `origins` are for messages. `python`: Debian's may be what the image gets, so look at it too.
    """

    packages: Mapping[str, tuple[str, ...]]
    origins: Mapping[str, str]
    python: bool


def lock_apt(
    engine: Engine, base: Base, platform: str, asked: Asked, *, report: Report = silent
) -> AptLock:
    """Return the packages of each stage with Python and without. Runs a container, for minutes.

    Raises:
        EnvironmentFailed: the archive cannot be reached, has no such package, or they do not go
            together.
        EngineUnreachable: the engine does not answer.
        TimeoutExpired: it took more than ten minutes.
    """
    report("asking Debian for the packages of the image")
    script = question(asked, machine_apt(base.release))
    proxies = [word for name in _PROXIES if engine.environ.get(name) for word in ("--env", name)]
    words = ["run", "--rm", "--interactive", "--platform", platform, *proxies]
    try:
        done = engine.run(
            [*words, "--entrypoint", "/bin/sh", base.reference, "-s"],
            stdin=script.encode(),
            timeout_s=_TIMEOUT_S,
        )
    except TimeoutExpired as error:
        raise TimeoutExpired(
            f"Debian's archive did not answer within {_TIMEOUT_S:g} s",
            hint="is a proxy or a mirror needed here? See /etc/apt and HTTP_PROXY",
        ) from error
    if done.returncode != 0:
        said = masked((done.complaint.splitlines() or ["no word"])[-1])
        raise EnvironmentFailed(f"a container of `{base.name}` cannot be run: {said}")
    return read_answer(done.stdout.decode("utf-8", "replace"), asked)


def question(asked: Asked, settings: AptSettings) -> str:
    """Return the script that a container of the base image runs. Pure."""
    declared = asked.packages
    texts = {"sources": settings.sources, "conf": settings.conf, "auth": settings.auth}
    lines = [f"{name}='{base64.b64encode(text.encode()).decode()}'" for name, text in texts.items()]
    lines.append(f"declared='{' '.join(_all(declared))}'")
    calls = [
        f"closure {stage}{suffix} {' '.join(_with_below(declared, stage, extra))}".rstrip()
        for suffix, extra in (("", ()), (_SUFFIX, _PYTHON))[: 1 + asked.python]
        for stage in STAGES
    ]
    return "\n".join([*lines, _SCRIPT, *calls, ""])


def read_answer(text: str, asked: Asked) -> AptLock:
    """Return the lock that the script's output tells. Pure. Raises as `lock_apt`."""
    sections = list(_sections(text))
    for title, lines in sections:
        if title == "unreachable":
            raise _unreachable(lines)
    missing = [title.partition(" ")[2] for title, _ in sections if title.startswith("missing ")]
    if missing:
        names = next((lines for title, lines in sections if title == "names"), [])
        raise _unknown(missing, names, asked)
    stages: dict[str, tuple[AptPackage, ...]] = {}
    python, stage = None, ""
    for title, lines in sections:
        kind, _, value = title.partition(" ")
        if kind == "refused":
            raise _refused(lines, asked.origins.get(stage.removesuffix(_SUFFIX), ""))
        if kind == "stage":
            stage = value
            stages[stage] = tuple(sorted(_packages(lines), key=lambda each: each.name))
        elif kind == "python":
            python = _upstream(value)
    return AptLock(_apart(stages, ""), _apart(stages, _SUFFIX), python)


def _all(declared: Mapping[str, tuple[str, ...]]) -> list[str]:
    return [each for stage in STAGES for each in (*DEFAULTS[stage], *declared.get(stage, ()))]


def _with_below(
    declared: Mapping[str, tuple[str, ...]], stage: str, extra: tuple[str, ...]
) -> tuple[str, ...]:
    below = _BELOW.get(stage)
    more = _with_below(declared, below, extra) if below else ()
    own = (*DEFAULTS[stage], *declared.get(stage, ()))
    return (*more, *own, *(extra if stage == "runtime" else ()))


def _apart(
    stages: Mapping[str, tuple[AptPackage, ...]], suffix: str
) -> Mapping[str, tuple[AptPackage, ...]]:
    """Return the stages without what the one below them has."""
    found = {stage: stages.get(stage + suffix, ()) for stage in STAGES}
    for stage, below in _BELOW.items():
        known = frozenset(found[below])
        found[stage] = tuple(each for each in found[stage] if each not in known)
    return MappingProxyType(found)


def _sections(text: str) -> Iterator[tuple[str, list[str]]]:
    title = ""
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith(_MARK):
            yield title, lines
            title, lines = line.removeprefix(_MARK).strip(), []
        else:
            lines.append(line)
    yield title, lines


def _packages(lines: Iterable[str]) -> Iterator[AptPackage]:
    for line in lines:
        if not line.startswith("'"):
            continue
        found = _URI.fullmatch(line.strip())
        if found is None:
            raise EnvironmentFailed(
                f"Debian's archive gives no SHA-256 for a package: {masked(line)}",
                hint="another mirror in /etc/apt",
            )
        name, version, _ = found["file"].split("_", 2)
        size, sha256 = int(found["size"]), found["sha256"]
        yield AptPackage(name, unquote(version), found["file"], sha256, size)


def _upstream(version: str) -> str | None:
    """Return 3.11.2 of 3.11.2-1+b1, None where there is no candidate."""
    found = re.match(r"(?:\d+:)?(\d+\.\d+(?:\.\d+)?)", version)
    return found[1] if found else None


def _unreachable(lines: Iterable[str]) -> EnvironmentFailed:
    told = [line for line in lines if line.startswith(("E:", "Err:", "W:"))]
    said = masked(" ".join((told or list(lines))[-1:]).strip()) or "no word"
    return EnvironmentFailed(
        f"Debian's archive cannot be reached from a container: {said}",
        hint="is a proxy or a mirror needed here? This machine's apt settings and HTTP_PROXY are "
        "handed on",
    )


def _unknown(missing: Iterable[str], names: list[str], asked: Asked) -> EnvironmentFailed:
    listed, hints = [], []
    for name in dict.fromkeys(missing):
        stages = [
            asked.origins.get(stage, stage)
            for stage in STAGES
            if any(each.partition("=")[0] == name for each in asked.packages.get(stage, ()))
        ]
        listed.append(f"`{name}`" + (f" (asked for in {' and '.join(stages)})" if stages else ""))
        near = near_packages(name, names)
        if near:
            hints.append(f"for `{name}`: " + " or ".join(f"`{each}`" for each in near))
    return EnvironmentFailed(
        f"the base image's Debian has no package {', '.join(listed)}",
        hint="did you mean, " + "; ".join(hints) + "?" if hints else "look at packages.debian.org",
    )


def near_packages(name: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return the packages that may have been meant, at most three: with it in them, else alike."""
    known = [each for each in names if each != name]
    inside = sorted((each for each in known if name in each), key=lambda each: (len(each), each))
    # Comparing takes microseconds a name, and there are sixty thousand.
    alike = [each for each in known if abs(len(each) - len(name)) <= 2 and each[:1] == name[:1]]
    near = difflib.get_close_matches(name, alike, n=_NEAR, cutoff=0.75)
    return tuple(dict.fromkeys([*inside, *near]))[:_NEAR]


def _refused(lines: Iterable[str], origin: str) -> EnvironmentFailed:
    said = [line.removeprefix("E: ").strip() for line in lines if line.startswith("E:")]
    asked = f" (asked for in {origin})" if origin else ""
    return EnvironmentFailed(
        f"Debian's packages{asked} cannot be installed: {'; '.join(said) or 'no word'}",
        hint="leave the version out; `apt-cache policy NAME` in a container lists those there are",
    )
