"""The conda packages of a project: solved from an environment.yml, or taken from another lock."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from perdure.environments.conda.declared import Declared, decode, read_yaml
from perdure.environments.conda.platforms import subdir_of, virtual_packages
from perdure.environments.conda.provided import python_name
from perdure.environments.conda.rattling import ask, cache_folder, failure
from perdure.environments.machine import masked
from perdure.errors import EnvironmentFailed, MissingProgram, TimeoutExpired, UsageError
from perdure.model.image import CondaPackage
from perdure.model.project import Project
from perdure.model.report import Report, silent

_TIMEOUT_S = 900.0
_TOKEN = re.compile(r"/t/[^/]+/")
_LOCKED = ("version", "package", "packages", "environments")


@dataclass(frozen=True, slots=True)
class Solved:
    """What an environment.yml, or another tool's lock, comes to on one platform.

    `pip` are requirements (PEP 508) that stand beside those of pyproject.toml.
    """

    packages: tuple[CondaPackage, ...]
    pip: tuple[str, ...] = ()


def lock_conda(
    project: Project,
    environment_file: Path,
    platform: str,
    python_version: str,
    *,
    previous: Sequence[CondaPackage] = (),
    report: Report = silent,
) -> tuple[CondaPackage, ...]:
    """Return the packages that `environment_file` comes to, by name; Python is one of them.

    It is an environment.yml, a conda-lock.yml or a pixi.lock. `platform` is told as engines do
    (`linux/amd64`) or as conda does; `python_version` is a version such as `3.11`, or empty.
    `previous` packages are taken again where they still fit. Touches disk and network.

    Raises:
        UsageError: naming every problem of the file.
        EnvironmentFailed: a package is nowhere, there is no solution, a channel cannot be reached.
        MissingProgram: py-rattler or PyYAML is not installed.
        StorageError: no space, or the file cannot be read.
        TimeoutExpired: the channels did not answer.
    """
    document = read_yaml(environment_file)
    subdir = subdir_of(platform)
    if is_lock(document):
        solved = _read(environment_file, subdir, report)
        _check_python(solved.packages, python_version, environment_file)
        return solved.packages
    declared = decode(document, environment_file)
    request = {
        **_wanted(declared, python_version),
        "subdir": subdir,
        "virtual": virtual_packages(subdir, project.environment.variants),
        "previous": [f"{each.name} =={each.version} {each.build}" for each in previous],
        "cache": str(cache_folder(project.state / "cache" / "rattler")),
    }
    answer = _solve(request, declared, report)
    problem = failure(answer)
    if problem:
        raise _unsolved(problem, declared, environment_file)
    packages = _packages(answer, environment_file)
    _warn_of_folders(packages, report)
    return packages


def pip_requirements(
    environment_file: Path, platform: str, *, report: Report = silent
) -> tuple[str, ...]:
    """Return what the file hands to pip: its `pip:` section, or the lock's Python packages.

    An environment.yml is read, and no more. Raises as `lock_conda`.
    """
    document = read_yaml(environment_file)
    if is_lock(document):
        return _read(environment_file, subdir_of(platform), report).pip
    return decode(document, environment_file).pip


def is_lock(document: object) -> bool:
    """Return whether a document is a lock of conda-lock or pixi, and no environment.yml."""
    return (
        isinstance(document, Mapping)
        and "version" in document
        and any(key in document for key in _LOCKED[1:])
    )


def _wanted(declared: Declared, python_version: str) -> dict[str, object]:
    python = ".".join(python_version.split(".")[:2])
    specs = (f"python {python}.*" if python else "python", *declared.specs)
    return {"do": "solve", "channels": declared.channels, "specs": specs}


def _solve(request: Mapping[str, object], declared: Declared, report: Report) -> dict[str, object]:
    try:
        return ask(request, "solving the conda packages", timeout_s=_TIMEOUT_S, report=report)
    except TimeoutExpired as error:
        channels = ", ".join(f"`{each}`" for each in declared.channels)
        raise TimeoutExpired(
            f"the conda packages were not solved within {_TIMEOUT_S:g} s; channels: {channels}"
        ) from error


def _read(file: Path, subdir: str, report: Report) -> Solved:
    request = {"do": "read", "file": str(file), "subdir": subdir}
    doing = f"reading {file.name}"
    try:
        answer = ask(request, doing, timeout_s=_TIMEOUT_S, report=report)
    except MissingProgram:
        raise
    except EnvironmentFailed as error:
        raise EnvironmentFailed(f"`{file}` cannot be read: {error.message}") from error
    problem = failure(answer)
    if problem:
        platforms = ", ".join(f"`{each}`" for each in _list(problem, "platforms"))
        raise EnvironmentFailed(
            f"`{file}` has no packages for `{subdir}`; it is for {platforms or 'no platform'}",
            hint="lock it again for this platform, or declare an environment.yml",
        )
    pip = [f"{each['name']}=={each['version']}" for each in _tables(answer, "pip")]
    return Solved(_packages(answer, file), tuple(sorted(pip)))


def _packages(answer: Mapping[str, object], file: Path) -> tuple[CondaPackage, ...]:
    found = [_package(each) for each in _tables(answer, "packages")]
    without = sorted(each.name for each in found if not each.sha256)
    if without:
        raise EnvironmentFailed(
            f"no SHA-256 is known of {', '.join(f'`{each}`' for each in without)} in `{file}`, "
            "so nobody could tell whether they are what was locked"
        )
    return tuple(sorted(found, key=lambda each: each.name))


def _package(told: Mapping[str, object]) -> CondaPackage:
    pypi = told["pypi"]
    name = str(told["name"])
    return CondaPackage(
        name=name,
        version=str(told["version"]),
        build=str(told["build"]),
        url=_bare(str(told["url"])),
        sha256=str(told["sha256"]),
        python=python_name(
            name, None if pypi is None else str(pypi), for_python=bool(told["for_python"])
        ),
    )


def _bare(url: str) -> str:
    """Return the URL without a user, a password or a token."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=host, path=_TOKEN.sub("/", parts.path, count=1)))


def _check_python(packages: Sequence[CondaPackage], wanted: str, file: Path) -> None:
    found = next((each.version for each in packages if each.name == "python"), None)
    if found is None:
        raise EnvironmentFailed(
            f"`{file}` has no Python", hint="add `python` to what it was made from, and lock it"
        )
    if wanted and found.split(".")[:2] != wanted.split(".")[:2]:
        raise EnvironmentFailed(
            f"`{file}` has Python {found}, the project asks for {wanted}",
            hint=f'`python = "{".".join(found.split(".")[:2])}"` in [tool.perdure.environment]',
        )


def _warn_of_folders(packages: Sequence[CondaPackage], report: Report) -> None:
    folders = {each.url.rsplit("/", 2)[0] for each in packages if each.url.startswith("file:")}
    if folders:
        report(
            "warning: conda packages come from folders of this machine; lock again elsewhere: "
            + ", ".join(sorted(folders))
        )


def _unsolved(
    error: Mapping[str, object], declared: Declared, file: Path
) -> EnvironmentFailed | UsageError:
    """Return the error to raise where there is no solution."""
    kind, text = error.get("kind"), masked(str(error.get("text", "")).strip())
    if kind == "spec":
        lines = "".join(f"\n  dependencies: {each}" for each in _list(error, "specs"))
        return UsageError(f"packages in `{file}` cannot be read{lines}")
    if kind == "missing":
        return _missing(_tables(error, "packages"), declared)
    if kind == "version":
        told = [
            f"`{each['spec']}`: there is {', '.join(_list(each, 'versions'))}"
            for each in _tables(error, "packages")
        ]
        return EnvironmentFailed(
            f"the channels have no such version: {'; '.join(told)}", hint=f"change `{file.name}`"
        )
    if kind == "channel":
        return _unreachable(text, declared)
    cuda = "__cuda" in text
    return EnvironmentFailed(
        f"there is no solution for the packages in `{file}`:\n{text}",
        hint="CUDA comes with pip's packages, for the variant `cuda`" if cuda else None,
    )


def _missing(packages: Sequence[Mapping[str, object]], declared: Declared) -> EnvironmentFailed:
    told = []
    for each in packages:
        near = " or ".join(f"`{name}`" for name in _list(each, "near"))
        told.append(f"`{each['name']}`" + (f" (did you mean {near}?)" if near else ""))
    channels = ", ".join(f"`{each}`" for each in declared.channels)
    return EnvironmentFailed(
        f"no conda package {', '.join(told)} in {channels}",
        hint="does pip have it? It can stand in pyproject.toml, or below `pip:`",
    )


def _unreachable(text: str, declared: Declared) -> EnvironmentFailed:
    named = [each for each in declared.channels if each in text]
    channel = named[0] if named else ", ".join(declared.channels)
    reason = text.splitlines()[-1].removeprefix("Caused by: ") if text else "no reason given"
    return EnvironmentFailed(
        f"cannot read the conda channel `{channel}`: {reason}",
        hint="a mirror can be named in rattler's own settings, ~/.config/rattler/config.toml",
    )


def _tables(answer: Mapping[str, object], key: str) -> list[Mapping[str, object]]:
    found = answer.get(key)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _list(answer: Mapping[str, object], key: str) -> list[str]:
    found = answer.get(key)
    return [str(each) for each in found] if isinstance(found, list) else []
