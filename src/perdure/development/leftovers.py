"""What was installed by hand in a container: the packages its image does not have. Pure.

Read from the engine's own list of changed files, which it gives of a stopped container too, and
without a program in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from perdure.environments.manifest import normalised

_PYTHON = re.compile(
    r"A /opt/(?:dev|venv|conda-env)/lib/python3\.\d+/site-packages/"
    r"([A-Za-z0-9][\w.]*)-([^-/]+)(?:-py[\d.]+)?\.(?:dist|egg)-info"
)
_DEBIAN = re.compile(r"A /var/lib/dpkg/info/([a-z0-9][a-z0-9+.-]+)(?::[a-z0-9]+)?\.list")
_CONDA = re.compile(r"A /opt/conda-env/conda-meta/([^/]+)-([^-/]+)-([^-/]+)\.json")

MOST_NAMED = 12


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Packages by the names their kind gives them, sorted; versions where they are known."""

    python: tuple[str, ...] = ()
    debian: tuple[str, ...] = ()
    conda: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self.python or self.debian or self.conda)

    def beside(self, contents: Mapping[str, str]) -> Leftovers:
        """Return those that are not in `contents`, which another image would have; see `contents`.

        What `perdure freeze` has written down is not lost with the container.
        """
        kept = {normalised(name.removeprefix("pip ")) for name in contents if name[:4] == "pip "}
        return Leftovers(
            tuple(each for each in self.python if normalised(each.partition(" ")[0]) not in kept),
            tuple(each for each in self.debian if f"apt {each}" not in contents),
            tuple(each for each in self.conda if f"conda {each.partition(' ')[0]}" not in contents),
        )

    def told(self) -> str:
        """Return them in a line: `pip: six 1.17.0; apt: cowsay`."""
        kinds = (("pip", self.python), ("apt", self.debian), ("conda", self.conda))
        return "; ".join(f"{kind}: {_listed(names)}" for kind, names in kinds if names)


def leftovers_in(changes: str, itself: str = "") -> Leftovers:
    """Return the packages that lines such as `A /var/lib/dpkg/info/cowsay.list` tell of.

    `itself` is the name of the project, whose own installation is nobody's by hand.
    """
    python: set[str] = set()
    debian: set[str] = set()
    conda: set[str] = set()
    for line in changes.splitlines():
        if found := _PYTHON.fullmatch(line):
            if normalised(found[1]) == normalised(itself):
                continue
            python.add(f"{found[1].replace('_', '-')} {found[2]}")
        elif found := _DEBIAN.fullmatch(line):
            debian.add(found[1])
        elif found := _CONDA.fullmatch(line):
            conda.add(f"{found[1]} {found[2]}")
    return Leftovers(tuple(sorted(python)), tuple(sorted(debian)), tuple(sorted(conda)))


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
