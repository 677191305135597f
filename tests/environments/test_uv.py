import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.environments.manifest import Manifest
from perdure.environments.uv import (
    find_uv,
    prepare_state,
    python_words,
    run_uv,
    this_machine,
    with_cache,
    without_folders,
)
from perdure.errors import EnvironmentFailed, MissingProgram, StorageError
from perdure.hosts import local
from perdure.model.project import Environment, Project
from tests.environments.told import Told

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def test_uv_comes_with_perdure_or_from_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Path(find_uv({})).name == "uv"
    monkeypatch.setitem(sys.modules, "uv", None)
    program = tmp_path / "uv"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert find_uv({"PATH": str(tmp_path)}) == str(program)
    with pytest.raises(MissingProgram, match="uv was not found") as caught:
        find_uv({"PATH": "/nowhere"})
    assert caught.value.hint == "pip install uv"


def test_variables_of_another_environment_are_left_out() -> None:
    machine = this_machine(
        {"VIRTUAL_ENV": "/x", "UV_FROZEN": "1", "PYTHONPATH": "/y", "PATH": "/bin"}
    )
    assert machine.environ["PATH"] == "/bin"
    assert not {"VIRTUAL_ENV", "UV_FROZEN", "PYTHONPATH"} & set(machine.environ)


def test_pips_files_are_read(tmp_path: Path) -> None:
    file = tmp_path / "pip.conf"
    file.write_text(f"[global]\nfind-links = {tmp_path}\ncert = /ca.pem\n")
    machine = this_machine({"PIP_CONFIG_FILE": str(file)})
    assert machine.folders == (tmp_path,)
    assert machine.environ["SSL_CERT_FILE"] == "/ca.pem"


def test_a_folder_that_is_an_index_is_not_searched_twice() -> None:
    environ = {"UV_FIND_LINKS": "/a/b,file:///c%20d,https://x.example /e"}
    kept = without_folders(environ, ["file:///a/b", "file:///c%20d"])
    assert kept["UV_FIND_LINKS"] == "https://x.example,/e"


def test_the_python_that_runs_here_is_taken_where_it_fits() -> None:
    project = Project(Path("/p"), "cats", "cats", {})

    def words(requires: str, python: str | None = None) -> tuple[str, ...]:
        manifest = Manifest.of({"project": {"requires-python": requires}})
        return python_words(replace(project, environment=Environment(python=python)), manifest)

    here = ("--python", os.path.realpath(sys._base_executable))  # type: ignore[attr-defined]
    assert words(f"=={HERE}.*") == here
    assert words(f" == {HERE}.*", HERE) == here
    assert words("==3.1.*") == ()
    assert words(">=3.9") == ()
    assert words("", "3.99") == ("--python", "3.99")
    assert words("not a version") == ()


def test_a_cache_that_cannot_be_written_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / ".perdure"
    home = {"HOME": str(tmp_path / "home")}
    assert with_cache(home, state) == home
    assert with_cache({"UV_CACHE_DIR": "/x"}, state) == {"UV_CACHE_DIR": "/x"}
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert with_cache(home, state)["UV_CACHE_DIR"] == str(state / "cache" / "uv")
    assert "UV_CACHE_DIR" in with_cache({}, state)


def test_the_state_folder_keeps_itself_out_of_git(tmp_path: Path) -> None:
    prepare_state(tmp_path / "p" / ".perdure")
    prepare_state(tmp_path / "p" / ".perdure")
    assert (tmp_path / "p/.perdure/.gitignore").read_text() == "*\n"
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write"):
        prepare_state(tmp_path / "file" / ".perdure")


def fake_uv(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> dict[str, str]:
    """Put a program on PATH that says what uv would: a full disk cannot be had for a test."""
    monkeypatch.setitem(sys.modules, "uv", None)
    program = folder / "uv"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def test_what_uv_says_is_told_without_chatter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = 'printf "Using CPython 3\\n Downloaded toy\\n + toy==1\\nat https://a:b@c\\n" >&2'
    environ = fake_uv(tmp_path, monkeypatch, script)
    told = Told()
    run_uv(["lock"], cwd=tmp_path, environ=environ, timeout_s=120, report=told)
    assert told.messages == ["Downloaded toy", "at https://***@c"]


def test_no_space_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = 'echo "error: failed to write: No space left on device (os error 28)" >&2; exit 2'
    environ = fake_uv(tmp_path, monkeypatch, script)
    told = Told()
    with pytest.raises(StorageError, match="no space left for the environment; `uv sync`"):
        run_uv(["sync"], cwd=tmp_path, environ=environ, timeout_s=120, report=told)
    # It is in the error already.
    assert told.messages == []


def test_an_index_that_cannot_be_reached_has_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        'for i in $(seq 40); do echo "line $i" >&2; done; echo "Failed to fetch: x" >&2; exit 1'
    )
    environ = fake_uv(tmp_path, monkeypatch, script)
    with pytest.raises(EnvironmentFailed, match="exit code 1") as caught:
        run_uv(["lock"], cwd=tmp_path, environ=environ, timeout_s=120, report=Told())
    assert "line 3\n" not in caught.value.message
    assert "line 40" in caught.value.message
    assert "[indexes]" in str(caught.value.hint)
    assert caught.value.exit_code == 4


def test_without_indexes_uv_is_told_by_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def run(argv: list[str], **_: object) -> local.Completed:
        asked.append(tuple(argv[1:]))
        return local.Completed(tuple(argv), 0, b"", b"")

    monkeypatch.setattr(local, "run", run)
    run_uv(["lock"], cwd=tmp_path, environ={"UV_NO_INDEX": "1"}, timeout_s=1, report=Told())
    assert asked == [("lock", "--no-index")]
