"""What conda brings for Python: it is not asked of pip again, and pip has to live with it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from perdure.environments.manifest import normalised
from perdure.errors import EnvironmentFailed
from perdure.model.image import CondaPackage

# Packages that pip knows by another name, of those that channels do not say it of.
_OTHER_NAMES = {
    "brotli-python": "brotli",
    "dask-core": "dask",
    "faiss-cpu": "faiss-cpu",
    "matplotlib-base": "matplotlib",
    "msgpack-python": "msgpack",
    "py-opencv": "opencv-python",
    "py-xgboost": "xgboost",
    "pytables": "tables",
    "python-graphviz": "graphviz",
    "pytorch": "torch",
    "tensorflow-base": "tensorflow",
}
# PEP 440, as far as conda's versions go along with it.
_VERSION = re.compile(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?")


def python_name(name: str, pypi: str | None, *, for_python: bool) -> str:
    """Return pip's name of a conda package, empty where it is no Python package.

    `pypi` is what the channel says of it: None where it says nothing.
    """
    if pypi is not None:
        return normalised(pypi)
    if not for_python or name in ("python", "python_abi") or name.startswith("_"):
        return ""
    return _OTHER_NAMES.get(name, normalised(name))


def names(packages: Iterable[CondaPackage]) -> tuple[str, ...]:
    """Return pip's names of what conda brings, sorted."""
    return tuple(sorted({each.python for each in packages if each.python}))


def constraints(packages: Iterable[CondaPackage]) -> tuple[str, ...]:
    """Return what conda brings as pip's constraints, sorted; none of versions pip cannot read."""
    return tuple(
        sorted(
            f"{each.python}=={each.version}"
            for each in packages
            if each.python and _VERSION.fullmatch(each.version)
        )
    )


@contextlib.contextmanager
def agreeing(packages: Sequence[CondaPackage]) -> Iterator[None]:
    """Name what conda brings where uv finds no resolution because of it.

    Raises:
        EnvironmentFailed: in those words.
    """
    try:
        yield
    except EnvironmentFailed as error:
        told = conflict(error, packages)
        if told is error:
            raise
        raise told from error


def conflict(error: EnvironmentFailed, packages: Sequence[CondaPackage]) -> EnvironmentFailed:
    """Return the error of a resolution in other words if it is about what conda brings.

    uv's own words stay below: they say which package asks for which version.
    """
    found = _in_conflict(error.message, packages)
    if not found:
        return error
    brought = ", ".join(f"`{name}` {version}" for name, version in found.items())
    first = next(iter(found))
    return EnvironmentFailed(
        f"conda and pip do not agree: conda brings {brought}, and what pip is to install needs "
        f"another version\n{error.message}",
        hint=f"ask for one version of `{first}` in both places, or leave it to one of them",
    )


def _in_conflict(text: str, packages: Sequence[CondaPackage]) -> Mapping[str, str]:
    if "no solution found" not in " ".join(text.lower().split()):
        return {}
    return {
        each.python: each.version
        for each in packages
        if each.python
        and re.search(rf"(?<![\w.-]){re.escape(each.python)}==?{re.escape(each.version)}", text)
    }
