"""Locked packages as requirement files: hashed, one file for each index they come from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from perdure.images.shell import RUN
from perdure.model.image import Requirement

#: The pip of development containers, and the one that builds wheels: the same one each time.
PIP = "pip==26.3 --hash=sha256:f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13\n"


@dataclass(frozen=True, slots=True)
class Group:
    """The packages of a layer that come from one index, None for uv's own, and their file."""

    file: str
    index: str | None
    requirements: tuple[Requirement, ...]

    def text(self) -> str:
        """Return the file's text."""
        return "".join(_line(each) for each in self.requirements)


def groups(name: str, requirements: Sequence[Requirement]) -> tuple[Group, ...]:
    """Return the packages of a layer that are installed from wheels, by their index.

    The files are `NAME.txt`, `NAME-2.txt` and so on; wheels of this machine are in the first.
    """
    installed = [each for each in requirements if each.has_wheel or name.startswith("sources")]
    by_index: dict[str | None, list[Requirement]] = {}
    for each in installed:
        by_index.setdefault(None if each.file or each.url else each.index, []).append(each)
    ordered = sorted(by_index.items(), key=lambda item: item[0] or "")
    return tuple(
        Group(f"{name}.txt" if number == 1 else f"{name}-{number}.txt", index, tuple(found))
        for number, (index, found) in enumerate(ordered, 1)
    )


def sources_of(requirements: Iterable[Requirement]) -> tuple[Requirement, ...]:
    """Return the packages that have no wheel."""
    return tuple(each for each in requirements if not each.has_wheel)


def _line(requirement: Requirement) -> str:
    wanted = f"{requirement.name}=={requirement.version}"
    if requirement.file is not None:
        wanted = f"{requirement.name} @ file://{RUN}/wheels/{quote(requirement.file.name)}"
    elif requirement.url is not None:
        wanted = f"{requirement.name} @ {requirement.url}"
    if requirement.marker:
        wanted += f" ; {requirement.marker}"
    hashes = (f"--hash={each}" for each in sorted(requirement.hashes))
    return " \\\n    ".join([wanted, *hashes]) + "\n"
