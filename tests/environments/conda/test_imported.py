"""Locks of conda-lock and pixi, taken as they are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.environments.conda.lock import lock_conda, pip_requirements
from perdure.errors import EnvironmentFailed
from perdure.model.image import CondaPackage
from perdure.model.project import Project
from tests.environments.conda.channel import MINOR, VERSION, Channel

Locked = tuple[CondaPackage, ...]
AMD64 = "linux/amd64"
SIX = "https://127.0.0.1:9/six-1.16.0-py2.py3-none-any.whl"


@pytest.fixture
def distant(locked: Locked, channel: Channel) -> Locked:
    """Return the packages with addresses of a server, which nobody asks here."""
    folder = channel.folder.as_uri()
    return tuple(
        replace(each, url=each.url.replace(folder, "https://127.0.0.1:9/c")) for each in locked
    )


def conda_lock(packages: Locked) -> object:
    """Return a conda-lock.yml, version 1."""
    common = {"platform": "linux-64", "category": "main", "optional": False, "dependencies": {}}
    entries: list[object] = [
        {
            **common,
            "name": each.name,
            "version": each.version,
            "manager": "conda",
            "url": each.url,
            "dependencies": {"python": "*"} if each.python else {},
            "hash": {"md5": "0" * 32, "sha256": each.sha256},
        }
        for each in packages
    ]
    six = {"name": "six", "version": "1.16.0", "manager": "pip", "url": SIX}
    metadata = {
        "content_hash": {"linux-64": "00"},
        "channels": [{"url": "conda-forge", "used_env_vars": []}],
        "platforms": ["linux-64"],
        "sources": ["environment.yml"],
    }
    entries.append({**common, **six, "hash": {"sha256": "1" * 64}})
    return {"version": 1, "metadata": metadata, "package": entries}


def pixi_lock(packages: Locked, version: int) -> object:
    """Return a pixi.lock, version 6 or 7."""
    names: list[object] = [{"conda": each.url} for each in packages]
    entries: list[object] = [
        {"conda": each.url, "sha256": each.sha256, "depends": ["python"] if each.python else []}
        | ({"noarch": "python"} if each.python else {})
        for each in packages
    ]
    entries.append({"pypi": SIX, "name": "six", "version": "1.16.0", "sha256": "1" * 64})
    listed = {"linux-64": [*names, {"pypi": SIX}]}
    environment = {"channels": [{"url": "https://127.0.0.1:9/c/"}], "packages": listed}
    platforms = {"platforms": [{"name": "linux-64"}]} if version > 6 else {}
    return {
        "version": version,
        **platforms,
        "environments": {"default": environment},
        "packages": entries,
    }


def write(project: Project, document: object, name: str = "conda-lock.yml") -> Path:
    file = project.root / name
    # JSON is YAML.
    file.write_text(json.dumps(document))
    return file


@pytest.mark.parametrize("kind", ["conda-lock", "pixi 6", "pixi 7"])
def test_packages_are_taken_as_they_were_locked(
    project: Project, distant: Locked, kind: str
) -> None:
    name, _, version = kind.partition(" ")
    document = conda_lock(distant) if name == "conda-lock" else pixi_lock(distant, int(version))
    file = write(project, document, f"{name}.lock")
    assert lock_conda(project, file, AMD64, MINOR) == distant
    assert pip_requirements(file, AMD64) == ("six==1.16.0",)


def test_a_lock_for_another_platform_or_python_is_refused(project: Project, locked: Locked) -> None:
    file = write(project, conda_lock(locked))
    with pytest.raises(EnvironmentFailed, match=r"no packages for `linux-aarch64`; .* `linux-64`"):
        lock_conda(project, file, "linux/arm64", MINOR)
    with pytest.raises(EnvironmentFailed, match=f"has Python {VERSION}, the project asks for 3.9"):
        lock_conda(project, file, AMD64, "3.9")
    without = [each for each in locked if each.name == "libgreet"]
    with pytest.raises(EnvironmentFailed, match="has no Python"):
        lock_conda(project, write(project, conda_lock(tuple(without))), AMD64, "")


def test_a_package_without_a_digest_is_refused(project: Project, locked: Locked) -> None:
    text = json.dumps(conda_lock(locked)).replace(f', "sha256": "{locked[0].sha256}"', "")
    file = project.root / "conda-lock.yml"
    file.write_text(text)
    with pytest.raises(EnvironmentFailed, match="no SHA-256 is known of `greet`"):
        lock_conda(project, file, AMD64, MINOR)


def test_a_broken_lock_is_told(project: Project) -> None:
    file = write(project, {"version": 99, "packages": []}, "pixi.lock")
    with pytest.raises(EnvironmentFailed, match=r"pixi\.lock"):
        lock_conda(project, file, AMD64, MINOR)
