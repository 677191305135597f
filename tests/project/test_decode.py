from pathlib import Path
from typing import Any

import pytest

from perdure.errors import NewerFormatError, StorageError, UsageError
from perdure.model.project import Task
from perdure.project.decode import decode_project, load_project

ROOT = Path("/somewhere")


def document(**table: object) -> dict[str, Any]:
    return {
        "project": {"name": "cats", "optional-dependencies": {"cpu": [], "cuda": []}},
        "tool": {"perdure": {"format": 1, "package": "cats", **table}},
    }


def complaint(**table: object) -> str:
    with pytest.raises(UsageError) as caught:
        decode_project(document(**table), ROOT)
    return caught.value.message


def test_a_task_is_a_line_a_list_or_a_table() -> None:
    project = decode_project(
        document(
            tasks={
                "line": "python -m cats.train --name 'a b' $(x)",
                "list": ["python", "a b", "$(x)", "quote'\"\n"],
                "table": {"command": "python -m cats", "grace_s": 5, "retries": 0},
            }
        ),
        ROOT,
    )
    assert project.name == "cats"
    assert project.tasks["line"].command == (
        ("python", "-m", "cats.train", "--name", "a b", "$(x)")
    )
    assert project.tasks["list"].command == ("python", "a b", "$(x)", "quote'\"\n")
    assert project.tasks["table"] == Task("table", ("python", "-m", "cats"), 5.0, 0)
    assert project.tasks["line"].grace_s == 30.0
    assert project.tasks["line"].retries == 2


def test_the_first_variant_is_the_default() -> None:
    environment = decode_project(document(environment={"variants": ["cuda", "cpu"]}), ROOT)
    assert environment.environment.default_variant == "cuda"
    assert decode_project(document(), ROOT).environment.variants == ()


def test_all_problems_are_told_at_once() -> None:
    message = complaint(
        taks={},
        package=3,
        tasks={"a": {"comand": "x"}, "b": ["python", 1], "c": {"command": "x", "retries": -1}},
        environment={"variant": ["cpu"], "python": "three"},
    )
    assert message.startswith("8 problems in `/somewhere/pyproject.toml`")
    for line in (
        "tool.perdure.taks: unknown key; did you mean `tasks`?",
        "tool.perdure.package: expected `str`, got `int`",
        "tool.perdure.tasks.a.comand: unknown key; did you mean `command`?",
        "tool.perdure.tasks.a.command: is missing",
        "tool.perdure.tasks.b[1]: expected `str`, got `int`",
        "tool.perdure.tasks.c.retries: expected `int` >= 0",
        "tool.perdure.environment.variant: unknown key; did you mean `variants`?",
        "tool.perdure.environment.python: expected `str` matching regex",
    ):
        assert f"\n  {line}" in message


def test_contradictions_are_told_at_once() -> None:
    message = complaint(
        package="class",
        tasks={"": "x", "a b": "x", "empty": " ", "torn": "echo 'x", "null": ["a\0b"]},
        environment={"variants": ["cpu", "gpu"], "default_variant": "cudaa"},
    )
    for line in (
        "tool.perdure.package: `class` is a Python keyword",
        "tool.perdure.tasks.'': a task's name",
        "tool.perdure.tasks.'a b': a task's name",
        "tool.perdure.tasks.empty: the command is empty",
        "tool.perdure.tasks.torn: cannot be read as a command: no closing quotation",
        "tool.perdure.tasks.null: the command holds a null character",
        "tool.perdure.environment.variants: `gpu` is not an extra of the project",
        "tool.perdure.environment.default_variant: `cudaa` is not a variant",
    ):
        assert f"\n  {line}" in message


@pytest.mark.parametrize("package", ["code", "1st", "a-b", "", "été", "None", "os"])
def test_a_package_that_cannot_be_imported_is_refused(package: str) -> None:
    assert "tool.perdure.package" in complaint(package=package)


@pytest.mark.parametrize("table", [None, 3, [], "x"])
def test_a_table_that_is_none_is_one_problem(table: object) -> None:
    with pytest.raises(UsageError, match=r"tool\.perdure"):
        decode_project({"tool": {"perdure": table}}, ROOT)


def test_a_newer_format_is_not_guessed_at() -> None:
    with pytest.raises(NewerFormatError, match="format 2") as caught:
        decode_project(document(format=2, unheard_of=True), ROOT)
    assert caught.value.hint == "pip install --upgrade 'perdure[cli]'"


def test_a_format_that_is_no_number_is_a_problem() -> None:
    assert "tool.perdure.format: expected `int`" in complaint(format="1")
    assert "tool.perdure.format" in complaint(format=True)


@pytest.mark.parametrize("content", [b"[tool.perdure\n", b"\xff\xfe", b"a = 1\na = 2\n"])
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pyproject.toml").write_bytes(content)
    with pytest.raises(UsageError, match=r"pyproject\.toml"):
        load_project(tmp_path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").mkdir()
    with pytest.raises(StorageError, match=r"pyproject\.toml"):
        load_project(tmp_path)


def test_a_project_is_loaded_from_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.perdure]\nformat = 1\npackage = "cats"\n')
    monkeypatch.chdir(tmp_path)
    project = load_project(Path())
    assert project.root == tmp_path
    assert project.name == project.root.name


def test_a_package_that_hides_a_module_is_told_what_to_do() -> None:
    message = complaint(package="code")
    assert "`code` would hide Python's own module of that name, which its debugger needs" in message
    assert "rename it, and its folder below `src`" in message
