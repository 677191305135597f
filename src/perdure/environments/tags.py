"""Which machines a wheel is for, by its name (the wheel format, PEP 427; PEP 425, 600). Pure."""

from __future__ import annotations

import re

_ARCHITECTURES = {
    "amd64": "x86_64",
    "arm64": "aarch64",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
}
_MANY = re.compile(r"(?:linux|manylinux(?:1|2010|2014|_\d+_\d+))_(?P<architecture>.+)")
_PYTHON = re.compile(r"(?:py|cp)3(?P<minor>\d*)")


def fits(wheel: str, minor: int | None, platform: str) -> bool:
    """Return whether CPython 3.`minor` can install the wheel on `platform`, such as `linux/amd64`.

    None: any Python 3 will do. The version of glibc is not looked at.
    """
    parts = wheel.removesuffix(".whl").split("-")
    if not wheel.endswith(".whl") or len(parts) < 5:
        return False
    pythons, abis, places = (part.split(".") for part in parts[-3:])
    return any(_runs(python, abis, minor) for python in pythons) and any(
        _reaches(place, platform) for place in places
    )


def _runs(python: str, abis: list[str], minor: int | None) -> bool:
    found = _PYTHON.fullmatch(python)
    if found is None:
        return False
    if minor is None:
        return True
    asked = int(found["minor"] or 0)
    if "abi3" in abis or python.startswith("py"):
        return asked <= minor and ("none" in abis or "abi3" in abis)
    return asked == minor and any(abi in ("none", python) for abi in abis)


def _reaches(place: str, platform: str) -> bool:
    if place == "any":
        return True
    found = _MANY.fullmatch(place)
    architecture = platform.partition("/")[2].partition("/")[0]
    return found is not None and found["architecture"] == _ARCHITECTURES.get(architecture)
