"""What was installed by hand is written down: with the real uv, from folders of wheels."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.environments.declarations import Place
from perdure.environments.drift import Drift
from perdure.environments.freeze import Choice, freeze, wanted_of
from perdure.environments.handmade import drift_of_prefix, local_prefixes
from perdure.environments.installed import InstalledConda, InstalledPackage
from perdure.environments.lock import check_lock, ensure_lock
from perdure.environments.revision import declared, locked_packages
from perdure.environments.sync import ensure_environment
from perdure.environments.uv import find_uv
from perdure.environments.wanted import Kind
from perdure.errors import EnvironmentFailed, UsageError
from perdure.model.project import Environment, Project
from perdure.model.settings import Settings
from tests.environments.conftest import CATS, MakeWheel

PIP = Place(Kind.PIP)
CHOICE = Choice(PIP)
SETTINGS = Settings()


@pytest.fixture
def venv(cats: Project, wheels: Path, make_wheel: MakeWheel) -> Path:
    """Return the `.venv` of a project that is locked and installed."""
    make_wheel(wheels, "toys", "2.0")
    ensure_lock(cats, SETTINGS)
    uv("venv", "-q", "--python", sys.executable, ".venv", cwd=cats.root)
    uv("sync", "-q", "--frozen", "--no-install-project", "--extra", "cpu", cwd=cats.root)
    return cats.root / ".venv"


def uv(*words: str, cwd: Path) -> None:
    environ = {**os.environ, "UV_FIND_LINKS": os.environ["PIP_FIND_LINKS"]}
    done = subprocess.run(
        [find_uv(os.environ), *words], cwd=cwd, env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def install(venv: Path, *packages: str) -> None:
    uv("pip", "install", "-q", "--python", str(venv / "bin" / "python"), *packages, cwd=venv)


def test_the_version_that_is_installed_is_the_one_that_is_locked(
    cats: Project,
    venv: Path,
) -> None:
    assert drift_of_prefix(cats, venv).none
    # 3.0 is there, too, and would be taken by a resolution that starts anew.
    install(venv, "toys==2.0")
    found = drift_of_prefix(cats, venv)
    assert [(each.name, each.version) for each in found.wished] == [("toys", "2.0")]
    made = freeze(cats, SETTINGS, found, CHOICE)
    assert [(each.name, each.after) for each in made.changes.items] == [("toys", "2.0")]
    text = (cats.root / "pyproject.toml").read_text()
    assert text == CATS.replace("afar\n", 'afar\n  "toys>=2.0",\n')
    assert drift_of_prefix(cats, venv).none
    assert check_lock(cats) is not None


def test_what_is_missing_stays_declared_unless_it_is_asked_for(
    cats: Project,
    venv: Path,
) -> None:
    uv("pip", "uninstall", "-q", "--python", str(venv / "bin" / "python"), "brought", cwd=venv)
    found = drift_of_prefix(cats, venv)
    assert [each.name for each in found.missing] == ["brought"]
    assert not found.is_new
    freeze(cats, SETTINGS, found, CHOICE)
    assert declared(cats, PIP) == ("brought",)
    freeze(cats, SETTINGS, found, replace(CHOICE, missing=True))
    assert declared(cats, PIP) == ()
    assert drift_of_prefix(cats, venv).none


def test_a_changed_version_is_locked_where_that_is_asked_for(
    cats: Project,
    venv: Path,
    wheels: Path,
    make_wheel: MakeWheel,
) -> None:
    make_wheel(wheels, "brought", "2.0")
    make_wheel(wheels, "brought", "3.0")
    install(venv, "brought==2.0")
    found = drift_of_prefix(cats, venv)
    assert [(each.name, each.before, each.after) for each in found.changed] == [
        ("brought", "1.0", "2.0")
    ]
    freeze(cats, SETTINGS, found, CHOICE)
    assert locked_packages(cats).pip == {"brought": "1.0"}
    freeze(cats, SETTINGS, found, replace(CHOICE, changed=True))
    assert locked_packages(cats).pip == {"brought": "2.0"}
    assert (cats.root / "pyproject.toml").read_text() == CATS


def test_what_does_not_go_together_changes_nothing(
    cats: Project,
) -> None:
    before = (cats.root / "pyproject.toml").read_bytes()
    found = Drift("x", wished=(InstalledPackage("toy", "7.0"),), apt={"git": "2"})
    with pytest.raises(EnvironmentFailed, match="nothing was changed"):
        freeze(cats, SETTINGS, found, CHOICE)
    assert (cats.root / "pyproject.toml").read_bytes() == before
    assert (cats.root / "apt.txt").read_text() == "# seen\nlibgl1\n"
    conda = Drift("x", conda=(InstalledConda("zlib", "1", "h0", "zlib"),))
    with pytest.raises(UsageError, match=r"has no environment.yml"):
        freeze(replace(cats, environment=Environment()), SETTINGS, conda, CHOICE)


def test_what_is_installed_is_asked_for_as_it_came() -> None:
    plain = InstalledPackage("six", "1.17.0+x")
    assert wanted_of(plain, exact=True).text == "six==1.17.0+x"
    assert wanted_of(plain, exact=False).text == "six>=1.17.0"
    git = InstalledPackage("six", "1", url="https://x.invalid/six", commit="0a1b")
    assert wanted_of(git, exact=True).source == {"git": "https://x.invalid/six", "rev": "0a1b"}
    file = InstalledPackage("six", "1", url="https://x.invalid/six-1-py3-none-any.whl")
    assert wanted_of(file, exact=True).source == {"url": file.url}


def test_environments_of_this_machine(
    cats: Project,
    venv: Path,
) -> None:
    assert local_prefixes(cats, SETTINGS, {}) == (venv,)
    assert local_prefixes(cats, SETTINGS, {"VIRTUAL_ENV": str(venv)}) == (venv,)
    # The one that this program runs in is not the project's.
    assert local_prefixes(cats, SETTINGS, {"VIRTUAL_ENV": sys.prefix}) == (venv,)
    jobs = ensure_environment(cats, SETTINGS)
    assert local_prefixes(cats, SETTINGS, {}) == (venv, jobs.prefix)
    assert drift_of_prefix(cats, jobs.prefix).none
    (cats.root / "uv.lock").unlink()
    with pytest.raises(EnvironmentFailed, match="no lock to compare"):
        drift_of_prefix(cats, venv)
