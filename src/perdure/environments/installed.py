"""What is installed in an environment: a folder of this machine, or a container."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from perdure.environments.inventory import inventory
from perdure.errors import EnvironmentFailed
from perdure.hosts.engine import Engine

_SCRIPT = Path(__file__).with_name("inventory.py")
_TIMEOUT_S = 60.0
# Both questions at once: a container takes a second to start. One without apt has none of its
# packages.
_QUERY = """\
"$0" - || exit 1
printf '\\0'
apt-mark showmanual 2>/dev/null | xargs -r dpkg-query -W -f '${Package}=${Version}\\n' 2>/dev/null
exit 0
"""


@dataclass(frozen=True, slots=True)
class InstalledPackage:
    """A Python package: `requested` if pip was asked for it by name, `needs` as names.

    `url` is where it came from if not from an index, `commit` the commit of a repository.
    """

    name: str
    version: str
    needs: tuple[str, ...] = ()
    requested: bool = False
    url: str = ""
    commit: str = ""
    editable: bool = False


@dataclass(frozen=True, slots=True)
class InstalledConda:
    """A conda package: `requested` is what a person asked conda for, "" for what came with it."""

    name: str
    version: str
    build: str = ""
    requested: str = ""


@dataclass(frozen=True, slots=True)
class Inventory:
    """What is installed: by pip or uv, by conda, and by apt where that was asked.

    `manual` are the Debian packages that somebody asked apt for, names to versions.
    """

    python: str
    packages: tuple[InstalledPackage, ...]
    conda: tuple[InstalledConda, ...] = ()
    manual: Mapping[str, str] | None = None

    @property
    def versions(self) -> dict[str, str]:
        """Return the versions of the Python packages."""
        return {each.name: each.version for each in self.packages}


def read_prefix(prefix: Path) -> Inventory:
    """Return what is installed in a virtual environment or conda prefix of this machine.

    Raises:
        EnvironmentFailed: there is none.
    """
    folders = sorted(prefix.glob("lib/python3*/site-packages"))
    if not folders:
        raise EnvironmentFailed(f"`{prefix}` is no environment: it has no site-packages")
    found = inventory([str(folder) for folder in folders], str(prefix))
    return msgspec.convert({**found, "python": _version(prefix)}, Inventory)


def read_container(engine: Engine, words: tuple[str, ...], python: str) -> Inventory:
    """Return what is installed in a container; `words` run a command there, such as `exec -i NAME`.

    Raises:
        EnvironmentFailed: it has no such Python, or cannot be run.
        EngineUnreachable: no engine answers.
    """
    done = engine.run(
        [*words, "sh", "-c", _QUERY, python], timeout_s=_TIMEOUT_S, stdin=_SCRIPT.read_bytes()
    )
    if done.returncode != 0:
        raise EnvironmentFailed(
            f"the container does not say what is installed in it: {done.complaint}",
            hint="perdure up",
        )
    text, _, listed = done.stdout.partition(b"\0")
    found = msgspec.json.decode(text, type=Inventory)
    lines = listed.decode("utf-8", "replace").splitlines()
    manual = {name: version for name, _, version in (line.partition("=") for line in lines)}
    return Inventory(found.python, found.packages, found.conda, manual)


def _version(prefix: Path) -> str:
    try:
        lines = (prefix / "pyvenv.cfg").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    settings = {key.strip(): value.strip() for key, _, value in (li.partition("=") for li in lines)}
    return settings.get("version_info") or settings.get("version") or ""
