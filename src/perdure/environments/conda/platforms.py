"""Platforms as conda names them, and what is taken for granted on each: never this machine's."""

from __future__ import annotations

import platform as this
from collections.abc import Sequence

from perdure.errors import EnvironmentFailed

_SUBDIRS = {
    "linux/amd64": "linux-64",
    "linux/arm64": "linux-aarch64",
    "linux/ppc64le": "linux-ppc64le",
    "darwin/amd64": "osx-64",
    "darwin/arm64": "osx-arm64",
}
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_ARCHITECTURES = {
    "linux-64": "x86_64",
    "linux-aarch64": "aarch64",
    "linux-ppc64le": "ppc64le",
    "osx-64": "x86_64",
    "osx-arm64": "m1",
}
# The oldest Linux that clusters still run, Enterprise Linux 8: a lock made for it fits newer ones.
_KERNEL = "4.18"
_GLIBC = "2.28"
_MACOS = "13.0"
_CUDA = "12.8"

Virtual = tuple[str, str, str]


def subdir_of(platform: str) -> str:
    """Return conda's name of a platform that is told as engines do, or as conda does.

    Raises:
        EnvironmentFailed: conda has no packages for it.
    """
    base = "/".join(platform.split("/")[:2])
    found = _SUBDIRS.get(base, platform)
    if found not in _ARCHITECTURES:
        raise EnvironmentFailed(
            f"conda has no packages for the platform `{platform}`",
            hint="leave `conda` out of [tool.perdure.environment]",
        )
    return found


def this_subdir() -> str:
    """Return conda's name of this machine's platform. Raises as `subdir_of`."""
    return subdir_of(f"{this.system().lower()}/{_architecture()}")


def this_linux() -> str:
    """Return the platform of Linux on this machine's kind of processor, as engines tell it."""
    return f"linux/{_architecture()}"


def virtual_packages(subdir: str, variants: Sequence[str] = ()) -> tuple[Virtual, ...]:
    """Return the virtual packages of a platform: name, version, build.

    The same on each machine that locks. `__cuda` is there only if every variant of the project is
    one for CUDA: a lock has one set of conda packages, which has to run in all of them.
    """
    found = [("__unix", "0", "0"), ("__archspec", "1", _ARCHITECTURES[subdir])]
    if subdir.startswith("linux"):
        found += [("__linux", _KERNEL, "0"), ("__glibc", _GLIBC, "0")]
    else:
        found.append(("__osx", _MACOS, "0"))
    if variants and all(each.startswith("cu") for each in variants):
        found.append(("__cuda", _CUDA, "0"))
    return tuple(found)


def _architecture() -> str:
    machine = this.machine().lower()
    return _MACHINES.get(machine, machine)
