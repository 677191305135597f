"""Adding and removing with the real uv, from folders of wheels on this machine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perdure.environments import edit, revision
from perdure.environments.declarations import VARIANT, Place
from perdure.environments.lock import ensure_lock
from perdure.environments.revision import declared, locked_packages
from perdure.environments.wanted import Kind, read_wanted
from perdure.errors import ConflictError, EnvironmentFailed, PerdureError, UsageError
from perdure.model.project import Environment, Project
from perdure.model.report import silent
from perdure.model.settings import Settings
from tests.environments.conftest import CATS

PIP = Place(Kind.PIP)
DEV = Place(Kind.PIP, "dev")
CPU = Place(Kind.PIP, VARIANT + "cpu")
RUNTIME = Place(Kind.APT, "runtime")
CONDA = Place(Kind.CONDA)
GPU = Place(Kind.PIP, VARIANT + "gpu")

SETTINGS = Settings()


def contents(project: Project) -> dict[str, bytes]:
    names = ("pyproject.toml", "uv.lock", "perdure.lock", "apt.txt", "environment.yml")
    files = {name: project.root / name for name in names}
    return {name: file.read_bytes() for name, file in files.items() if file.exists()}


def test_a_package_is_declared_with_the_version_that_was_locked(cats: Project) -> None:
    before = ensure_lock(cats, SETTINGS)
    made = edit.add(cats, SETTINGS, PIP, ["toy"])
    assert [(each.what, each.name, each.after) for each in made.changes.items] == [
        ("added", "toy", "1.0+house")
    ]
    assert [file.name for file in made.files] == ["pyproject.toml", "uv.lock", "perdure.lock"]
    text = (cats.root / "pyproject.toml").read_text()
    assert text == CATS.replace("afar\n", 'afar\n  "toy>=1.0",\n')
    after = ensure_lock(cats, SETTINGS)
    assert after.digest != before.digest

    gone = edit.remove(cats, SETTINGS, PIP, ["Toy"])
    assert [(each.what, each.name) for each in gone.changes.items] == [("removed", "toy")]
    assert (cats.root / "pyproject.toml").read_text() == CATS
    assert ensure_lock(cats, SETTINGS).digest == before.digest


def test_each_place_of_pip_is_its_own(cats: Project) -> None:
    edit.add(cats, SETTINGS, DEV, ["toys<4", "toy"])
    edit.add(cats, SETTINGS, CPU, ["toy"])
    assert declared(cats, DEV) == ("toy>=1.0", "toys<4")
    assert declared(cats, CPU) == ("toy>=1.0",)
    assert declared(cats, PIP) == ("brought",)
    with pytest.raises(UsageError, match=r"`toy` is not declared in `project\.dep") as caught:
        edit.remove(cats, SETTINGS, PIP, ["toy"])
    assert caught.value.hint == "`perdure remove --dev toy` or `perdure remove --variant cpu toy`"


def with_conda(project: Project) -> Project:
    file = project.root / "environment.yml"
    file.write_text("channels: [x]\ndependencies:\n  - zlib  # small\n")
    return replace(project, environment=replace(project.environment, conda=file))


def test_lists_of_debian_packages_and_condas(cats: Project) -> None:
    cats = with_conda(cats)
    for place, word, file, text in (
        (RUNTIME, "git", "apt.txt", "# seen\ngit\nlibgl1\n"),
        (CONDA, "libpng>=1.6", "environment.yml", "  - libpng>=1.6\n  - zlib  # small\n"),
        (Place(Kind.APT, "build"), "cmake", "pyproject.toml", 'build = ["cmake", "make"]'),
        (Place(Kind.APT, "dev"), "less", "pyproject.toml", 'dev = ["less"]'),
    ):
        with revision.revising(cats, SETTINGS, silent) as change:
            change.declare(place, [read_wanted(place.kind, word)])
            assert text in (cats.root / file).read_text()
            name = word.partition(">")[0]
            assert name in edit.declared_names(change.project, place)
            change.withdraw(place, [name])
    assert contents(cats)["apt.txt"] == b"# seen\nlibgl1\n"


@pytest.mark.parametrize(
    ("place", "word", "refusal"),
    [
        (PIP, "toyz", (EnvironmentFailed, "no package `toyz` in any index", "")),
        (
            PIP,
            "nunpy",
            (
                EnvironmentFailed,
                "`project.dependencies`; nothing was changed",
                "did you mean `numpy`",
            ),
        ),
        (PIP, "brouhgt", (EnvironmentFailed, "`brouhgt`", "did you mean `brought`?")),
        (PIP, "toy==7", (EnvironmentFailed, "toy==7", "")),
        (PIP, "brought", (ConflictError, "declared already, as `brought`", "perdure remove bro")),
        (PIP, "six>>1", (UsageError, "cannot be read", "NAME>=1.2")),
        (PIP, "json", (UsageError, "a module of Python itself", "import json")),
        (PIP, "Cats", (UsageError, "is this project itself", "perdure env show")),
        (GPU, "toy", (UsageError, "no variant `gpu`", "`cpu`, `cuda`")),
        (RUNTIME, "libgl1", (ConflictError, "in `apt.txt`", "remove --apt runtime libgl1")),
        (CONDA, "zlib", (UsageError, "has no environment.yml", "conda = ")),
    ],
)
def test_what_cannot_be_added_changes_nothing(
    cats: Project,
    place: Place,
    word: str,
    refusal: tuple[type[PerdureError], str, str],
) -> None:
    error, said, hint = refusal
    ensure_lock(cats, SETTINGS)
    before = contents(cats)
    with pytest.raises(error) as caught:
        edit.add(cats, SETTINGS, place, [word])
    assert said in caught.value.message
    assert hint in (caught.value.hint or "")
    assert contents(cats) == before
    ensure_lock(cats, SETTINGS)
    assert contents(cats) == before


def test_of_several_packages_all_are_added_or_none(cats: Project) -> None:
    before = contents(cats)
    with pytest.raises(EnvironmentFailed, match="`toyz`"):
        edit.add(cats, SETTINGS, PIP, ["toy", "toyz"])
    with pytest.raises(ConflictError, match="as `toy`"):
        edit.add(cats, SETTINGS, PIP, ["toy", "Toy"])
    # There was no lock, so there is none now.
    assert contents(cats) == before


def test_an_interrupted_change_is_put_back(cats: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(cats)

    def interrupted(*_: object, **__: object) -> None:
        assert contents(cats) != before
        raise KeyboardInterrupt

    monkeypatch.setattr(revision, "ensure_lock", interrupted)
    with pytest.raises(KeyboardInterrupt):
        edit.add(cats, SETTINGS, PIP, ["toy"])
    assert contents(cats) == before


def test_a_link_stays_a_link(cats: Project) -> None:
    file = cats.root / "pyproject.toml"
    file.rename(cats.root.parent / "elsewhere.toml")
    file.symlink_to(cats.root.parent / "elsewhere.toml")
    edit.add(cats, SETTINGS, PIP, ["toy"])
    assert file.is_symlink()
    assert "toy" in file.read_text()


def test_what_is_not_there_cannot_be_removed(cats: Project) -> None:
    for word, hint in (("brougth", "did you mean `brought`?"), ("toys", "perdure env show")):
        with pytest.raises(UsageError, match=f"`{word}` is not declared") as caught:
            edit.remove(cats, SETTINGS, PIP, [word])
        assert caught.value.hint == hint
    bare = replace(cats, environment=Environment())
    with pytest.raises(UsageError, match=r"has no environment.yml"):
        edit.remove(bare, SETTINGS, CONDA, ["zlib"])


def test_a_file_that_is_no_text_is_named(cats: Project) -> None:
    (cats.root / "apt.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"apt.txt` is not UTF-8"):
        edit.add(cats, SETTINGS, RUNTIME, ["git"])


def test_a_project_without_a_lock_has_no_packages(cats: Project) -> None:
    assert not locked_packages(cats).pip
