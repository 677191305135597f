"""A house of packages on this machine's own disk: uv locks and installs from it, offline."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from perdure.model.project import Environment, Project

MakeWheel = Callable[..., Path]


def wheel(name: str, version: str, text: str, requires: str = "") -> bytes:
    info = f"{name}-{version}.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    files = {
        f"{name}/__init__.py": text,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "".join(
            f"{file},,\n"
            for file in (
                f"{name}/__init__.py",
                f"{info}/METADATA",
                f"{info}/WHEEL",
                f"{info}/RECORD",
            )
        ),
    }
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        for file, content in files.items():
            made.writestr(zipfile.ZipInfo(file), content)
    return archive.getvalue()


@pytest.fixture
def make_wheel() -> MakeWheel:
    """Return a function that puts a wheel of one module into a folder."""

    def make(folder: Path, name: str, version: str = "1.0", text: str = "") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{name}-{version}-py3-none-any.whl"
        file.write_bytes(wheel(name, version, text))
        return file

    return make


PYPROJECT = """\
[project]
name = "cats"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["brought"]
[project.optional-dependencies]
cpu = ["toy==1.0"]
cuda = ["toy==1.0"]
[tool.perdure]
format = 1
package = "cats"
[tool.uv]
conflicts = [[{ extra = "cpu" }, { extra = "cuda" }]]
[tool.uv.sources]
brought = { path = "vendor/brought-1.0-py3-none-any.whl" }
toy = [{ index = "house", extra = "cpu" }, { index = "yard", extra = "cuda" }]
[[tool.uv.index]]
name = "house"
url = "https://house.invalid/simple"
explicit = true
[[tool.uv.index]]
name = "yard"
url = "https://yard.invalid/simple"
explicit = true
"""


@pytest.fixture
def wheels(tmp_path: Path, make_wheel: MakeWheel) -> Path:
    """Return a folder of wheels, of which only pip knows."""
    folder = tmp_path / "wheels $(x) é"
    make_wheel(folder, "toy", "1.0+house", "where = 'house'\n")
    return folder


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wheels: Path) -> None:
    """Keep uv on this machine, with a cache of its own, and tell pip of the folder of wheels."""
    # Where pip's list is parted at spaces, a folder can only be told by its URL.
    monkeypatch.setenv("PIP_FIND_LINKS", wheels.as_uri())
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def project(tmp_path: Path, make_wheel: MakeWheel, offline: None) -> Project:
    """Return a project with two variants and a wheel that it brings along."""
    root = tmp_path / "a project's folder $(x) é"
    make_wheel(root / "vendor", "brought", "1.0", "import toy\n")
    make_wheel(tmp_path / "yard", "toy", "1.0+yard", "where = 'yard'\n")
    (root / "pyproject.toml").write_text(PYPROJECT)
    environment = Environment(variants=("cpu", "cuda"), default_variant="cpu", python="3.11")
    return Project(root, "cats", "cats", {}, environment)


@pytest.fixture
def plain(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project without indexes of its own, on a machine that has its folder only."""
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.delenv("UV_OFFLINE")
    environment = Environment(variants=("cpu",), default_variant="cpu", python="3.11")
    declare(project, '["toy"]')
    return replace(project, environment=environment)


def declare(project: Project, dependencies: str, cpu: str = "[]") -> None:
    (project.root / "pyproject.toml").write_text(
        '[project]\nname = "cats"\nversion = "1"\nrequires-python = "==3.11.*"\n'
        f"dependencies = {dependencies}\noptional-dependencies.cpu = {cpu}\n"
    )


CATS = """\
# The cats.
[project]
name = "cats"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = [
  "brought",  # from afar
]

[project.optional-dependencies]
cpu = []
cuda = []

[tool.perdure]
format = 1
package = "cats"

[tool.perdure.environment]
variants = ["cpu", "cuda"]

[tool.perdure.environment.apt]
runtime = "apt.txt"
build = ["make"]

[tool.uv]
conflicts = [[{ extra = "cpu" }, { extra = "cuda" }]]
"""


@pytest.fixture
def cats(
    project: Project, wheels: Path, make_wheel: MakeWheel, monkeypatch: pytest.MonkeyPatch
) -> Project:
    """Return a project that needs `brought`; `toy` and `toys` are there to be added."""
    # Not offline: then uv could not know that a package does not exist.
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.delenv("UV_OFFLINE")
    make_wheel(wheels, "brought", "1.0")
    make_wheel(wheels, "toy", "0.9")
    make_wheel(wheels, "toys", "3.0")
    (project.root / "pyproject.toml").write_text(CATS)
    (project.root / "apt.txt").write_text("# seen\nlibgl1\n")
    environment = Environment(
        variants=("cpu", "cuda"),
        default_variant="cpu",
        apt=MappingProxyType({"runtime": project.root / "apt.txt", "build": ("make",)}),
    )
    return replace(project, environment=environment)
