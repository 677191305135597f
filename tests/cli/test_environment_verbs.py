"""`perdure add`, `remove`, `freeze` and `env`, with packages from the index this machine uses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from perdure.environments.uv import find_uv, this_machine
from tests.cli.command import Ended, is_one_error, perdure

PYPROJECT = """\
[project]
name = "cats"
version = "0"
requires-python = ">=3.11"
dependencies = ["markupsafe"]  # one line

[tool.perdure]
format = 1
package = "cats"

[tool.perdure.tasks]
show = ["python", "-c", "import six; print('six', six.__version__)"]
"""


@pytest.fixture
def cats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a project in git, with no container engine to be found."""
    folder = tmp_path / "a project $(x)"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / ".gitignore").write_text("results/\n.venv/\n")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nowhere.sock")
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    run(folder, "git", "init", "-q")
    return folder


def run(folder: Path, *words: str, env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def uv(folder: Path, *words: str) -> str:
    environ = this_machine().environ
    return run(folder, find_uv(environ), *words, env=environ)


def good(ended: Ended) -> Ended:
    assert ended.code == 0, ended.err
    return ended


def text_of(folder: Path) -> str:
    return (folder / "pyproject.toml").read_text()


@pytest.mark.install
def test_a_package_is_added_used_compared_and_removed(cats: Path) -> None:
    good(perdure("lock", cwd=cats))
    run(cats, "git", "add", "-A")
    run(cats, "git", "commit", "-qm", "locked")
    before = text_of(cats)

    added = good(perdure("add", "six", cwd=cats))
    assert [line.split()[:3] for line in added.out.splitlines()] == [
        ["WHAT", "KIND", "PACKAGE"],
        ["added", "pip", "six"],
    ]
    assert "changed: `pyproject.toml`, `uv.lock`" in added.err
    assert 'dependencies = ["markupsafe", "six>=1.' in text_of(cats)
    ran = good(perdure("run", "--name", "with-six", "show", cwd=cats))
    assert ran.out.startswith("six 1.")

    differs = json.loads(good(perdure("env", "diff", "HEAD", "--json", cwd=cats)).out)
    assert (differs["before"], differs["after"]) == ("HEAD", "lock")
    assert [(each["what"], each["name"]) for each in differs["changes"]] == [("added", "six")]
    alike = good(perdure("env", "diff", "with-six", "installed", cwd=cats))
    assert alike.out == "nothing differs between with-six and installed\n"
    assert "added  pip   six" in good(perdure("env", "diff", "HEAD", "@last", cwd=cats)).out

    removed = json.loads(good(perdure("remove", "six", "--json", cwd=cats)).out)
    assert [each["what"] for each in removed["changes"]] == ["removed"]
    assert text_of(cats) == before
    assert "removed" in good(perdure("env", "diff", "with-six", cwd=cats)).out


@pytest.mark.install
def test_what_was_installed_by_hand_is_shown_first_and_then_written(cats: Path) -> None:
    good(perdure("lock", cwd=cats))
    uv(cats, "venv", "-q", "--python", sys.executable, ".venv")
    uv(cats, "sync", "-q", "--frozen", "--no-install-project")
    assert "nothing was installed by hand" in good(perdure("freeze", cwd=cats)).err
    uv(cats, "pip", "install", "-q", "--python", ".venv/bin/python", "six==1.16.0")
    before = text_of(cats)
    shown = good(perdure("freeze", "--explain", cwd=cats))
    assert shown.out.splitlines()[1].split() == ["new", "pip", "six", "-", "1.16.0"]
    asked = json.loads(good(perdure("freeze", "--explain", "--json", cwd=cats)).out)
    assert asked["new"] == {"six": "1.16.0"}
    assert is_one_error(perdure("freeze", cwd=cats), 2, "nobody is here", "perdure freeze --yes")
    assert text_of(cats) == before
    written = good(perdure("freeze", "--yes", cwd=cats))
    assert "1.16.0" in written.out
    # The version that is installed, though a newer one fits.
    assert '"six>=1.16.0"' in text_of(cats)
    assert 'name = "six"\nversion = "1.16.0"' in (cats / "uv.lock").read_text()
    assert "nothing was installed by hand" in good(perdure("freeze", cwd=cats)).err


@pytest.mark.install
def test_a_package_that_is_not_there_is_told_with_what_was_meant(cats: Path) -> None:
    good(perdure("lock", cwd=cats))
    before = {file: (cats / file).read_bytes() for file in ("pyproject.toml", "uv.lock")}
    ended = perdure("add", "markupsaef", cwd=cats)
    assert is_one_error(ended, 4, "`markupsaef`", "nothing was changed", "`markupsafe`")
    assert before == {file: (cats / file).read_bytes() for file in before}


def test_what_cannot_be_asked_for(cats: Path, tmp_path: Path) -> None:
    for words, code, said in (
        (("add",), 2, ("PACKAGE",)),
        (("add", "six>>1"), 2, ("`six>>1` cannot be read",)),
        (("add", "json"), 2, ("a module of Python itself",)),
        (("add", "markupsafe"), 3, ("declared already", "perdure remove markupsafe")),
        (("add", "--variant", "cuda", "six"), 2, ("no variant `cuda`",)),
        (("add", "--apt", "runtim", "git"), 2, ("did you mean `runtime`?",)),
        (("add", "--apt", "runtime", "Git"), 2, ("did you mean `git`?",)),
        (("add", "--conda", "zlib"), 2, ("has no environment.yml",)),
        (("add", "--dev", "--conda", "zlib"), 2, ("not allowed",)),
        (("remove", "markupsaef"), 2, ("not declared", "did you mean `markupsafe`?")),
        (("env",), 2, ("WHAT",)),
        (("env", "shwo"), 2, ("did you mean `show`?",)),
        (("build", "--push", "not a registry"), 2, ("`--push not a registry` names no registry",)),
        (("build", "--push", "x.tar"), 2, ("names no registry",)),
        (("build", "--push", "ssh://me@lab"), 2, ("names no registry",)),
        (("env", "show", "x"), 2, ("takes nothing more",)),
        (("env", "diff"), 2, ("compares two",)),
        (("env", "diff", "a", "b", "c"), 2, ("compares two",)),
        (("env", "diff", "nope", "lock"), 2, ("no job `nope`", "a git revision")),
        (("env", "diff", "lock"), 4, ("no lock that can be read", "perdure lock")),
        (("env", "diff", "../x.lock"), 4, ("`../x.lock`",)),
        (("env", "diff", "installed", "lock"), 4, ("nothing is installed", "perdure run")),
        (("freeze",), 2, ("no environment to look at", "perdure up")),
        (("freeze", "--from", "container"), 2, ("does not run", "perdure up")),
        (("freeze", "--from", str(tmp_path)), 4, ("no lock to compare", "perdure lock")),
    ):
        assert is_one_error(perdure(*words, cwd=cats), code, *said)
    assert text_of(cats) == PYPROJECT


def test_what_the_environment_is_made_of_before_anything_is_locked(cats: Path) -> None:
    shown = good(perdure("env", "show", cwd=cats)).out
    assert "uv.lock       not locked yet: perdure lock" in shown
    assert "pip           markupsafe  (pyproject.toml)" in shown
    told = json.loads(good(perdure("env", "show", "--json", cwd=cats)).out)
    assert told["lock"] is None
    assert told["images"] == {}
    assert told["declared"] == [
        {"what": "pip", "file": "pyproject.toml", "packages": ["markupsafe"]}
    ]


@pytest.mark.install
def test_lock_files_can_be_compared_wherever_they_are(cats: Path, tmp_path: Path) -> None:
    good(perdure("lock", cwd=cats))
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "uv.lock").write_bytes((cats / "uv.lock").read_bytes())
    alone = tmp_path / "other.lock"
    alone.write_bytes((cats / "uv.lock").read_bytes())
    for side in (str(kept), str(kept / "uv.lock"), str(alone)):
        assert "nothing differs" in good(perdure("env", "diff", side, "lock", cwd=cats)).out
    (kept / "uv.lock").write_text("<<<<<<< HEAD\n")
    assert is_one_error(perdure("env", "diff", str(kept), cwd=cats), 4, "is no lock")
    run(cats, "git", "commit", "-q", "--allow-empty", "-m", "nothing")
    assert is_one_error(perdure("env", "diff", "HEAD", cwd=cats), 4, "has no `uv.lock`")
