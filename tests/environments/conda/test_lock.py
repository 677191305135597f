from dataclasses import replace
from pathlib import Path

import pytest

from perdure.environments.conda import lock as module
from perdure.environments.conda import rattling
from perdure.environments.conda.lock import lock_conda, pip_requirements
from perdure.errors import EnvironmentFailed, MissingProgram, TimeoutExpired, UsageError
from perdure.model.image import CondaPackage
from perdure.model.project import Environment, Project
from tests.environments.conda.channel import VERSION, Channel
from tests.environments.told import Told

AMD64 = "linux/amd64"


def solve(project: Project, channel: str, *specs: str, python: str = "3.11") -> list[str]:
    file = project.root / "environment.yml"
    lines = "".join(f"- {spec!r}\n" for spec in specs)
    file.write_text(f"channels: ['{channel}']\ndependencies:\n{lines or '  []'}\n")
    return [f"{each.name} {each.version}" for each in lock_conda(project, file, AMD64, python)]


def test_a_folder_and_a_server_give_the_same(
    project: Project, channel: Channel, served: str
) -> None:
    expected = ["greet 0.3", "libgreet 1.2.0", "numb 1.26", f"python {VERSION}"]
    assert solve(project, channel.folder.as_uri(), "greet", "numb=1.26") == expected
    assert solve(project, served, "greet", "numb =1.26") == expected


def test_packages_are_whole(locked: tuple[CondaPackage, ...]) -> None:
    greet, library = locked[:2]
    assert (greet.build, greet.python) == ("pyh1_0", "greet")
    assert library.python == ""
    assert library.url.endswith("/linux-64/libgreet-1.2.0-h1_0.tar.bz2")
    assert {len(each.sha256) for each in locked} == {64}


def test_python_is_always_one_of_them(project: Project, served: str) -> None:
    assert solve(project, served) == [f"python {VERSION}"]
    assert solve(project, served, python="") == [f"python {VERSION}"]
    # Another patch of it is as good: what counts is the interface.
    assert solve(project, served, python="3.11.2") == [f"python {VERSION}"]


def test_a_folder_in_the_lock_is_told(project: Project, channel: Channel) -> None:
    told = Told()
    file = project.root / "environment.yml"
    file.write_text(f"channels: ['{channel.folder.as_uri()}']\ndependencies: []\n")
    lock_conda(project, file, AMD64, "3.11", report=told)
    assert "lock again elsewhere: file://" in told.text
    assert "solving the conda packages" in told.messages


def test_packages_that_are_nowhere_are_named_with_near_ones(project: Project, served: str) -> None:
    with pytest.raises(EnvironmentFailed) as caught:
        solve(project, served, "grreet", "numb", "zzzzzz >=1")
    assert "`grreet` (did you mean `greet` or `libgreet`?), `zzzzzz` in `http:" in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("specs", "told"),
    [
        (("numb >=3",), "no such version: `numb >=3`: there is 1.26, 2.0"),
        (("python=3.10",), r"no such version: `python 3.10.\*`"),
        (("numb=1.26", "numb>=2"), "no solution for the packages"),
        (("only-with-cuda",), "__cuda"),
    ],
)
def test_what_has_no_solution_is_told(
    project: Project, served: str, specs: tuple[str, ...], told: str
) -> None:
    with pytest.raises(EnvironmentFailed, match=told):
        solve(project, served, *specs)


def test_only_cuda_variants_have_a_driver(project: Project, served: str) -> None:
    cuda = replace(project, environment=Environment(("cuda",), "cuda"))
    assert "only-with-cuda 1.0" in solve(cuda, served, "only-with-cuda")


def test_all_packages_that_cannot_be_read_are_told(project: Project, served: str) -> None:
    with pytest.raises(UsageError, match=r"(?s)`numb =>3`.*`\*`"):
        solve(project, served, "numb =>3", "*")


def test_a_channel_that_does_not_answer_is_named(project: Project) -> None:
    with pytest.raises(EnvironmentFailed, match=r"channel `http://127.0.0.1:9/c`: .*refused"):
        solve(project, "http://127.0.0.1:9/c", "numb")
    with pytest.raises(EnvironmentFailed, match=r"channel `file:///nowhere/c`: .*[Nn]o such file"):
        solve(project, "file:///nowhere/c", "numb")


def test_channels_that_take_too_long_are_named(
    project: Project, served: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TIMEOUT_S", 0.001)
    with pytest.raises(TimeoutExpired, match=f"channels: `{served}`"):
        solve(project, served)


def test_a_machine_without_py_rattler_is_told_what_to_install(
    project: Project, served: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "rattler.py").write_text("raise ImportError('not here')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(MissingProgram) as caught:
        solve(project, served)
    assert caught.value.hint == "pip install 'perdure[conda]'"


def test_a_worker_that_dies_is_told(
    project: Project, served: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text("import os, sys\nsys.stderr.write('oh\\n')\nsys.stderr.flush()\nos.abort()\n")
    monkeypatch.setattr(rattling, "_WORKER", worker)
    with pytest.raises(EnvironmentFailed, match=r"exit code -6\): "):
        solve(project, served)


def test_pips_section_is_handed_on(project: Project) -> None:
    file = project.root / "environment.yml"
    file.write_text("dependencies: [{pip: [six, 'numb==2.0']}]")
    assert pip_requirements(file, AMD64) == ("six", "numb==2.0")
