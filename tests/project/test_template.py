import ast
import subprocess
import tomllib
from pathlib import Path

import pytest

from perdure.errors import ConflictError, PerdureError, StorageError, UsageError
from perdure.hosts import local
from perdure.project import history, template
from perdure.project.decode import load_project
from perdure.project.template import RECORD, Answers, answers_for, create_project, render
from perdure.project.wheel import Wheel

HOSTILE = (
    "a \"quote\", 'another', a \\ and\na line, $(x) `y` {{ name }} {% raw %} é \x7f \x07 \udc80"
)
WHEEL = Wheel("perdure-9-py3-none-any.whl", b"PK")


def git(folder: Path, *words: str) -> str:
    argv = ["git", "-C", str(folder), *words]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def test_the_template_is_small_and_renders_the_same_each_time() -> None:
    files = render(answers_for("my-cats"), WHEEL)
    assert files == render(answers_for("my-cats"), WHEEL)
    assert len(files) + 1 <= 25
    for name in ("src/my_cats/train.py", ".gitignore", ".github/workflows/check.yml", "Makefile"):
        assert name in files
    assert not any("jinja" in name or "PACKAGE" in name or "dot_" in name for name in files)
    assert files["vendor/perdure-9-py3-none-any.whl"] == b"PK"


def test_all_python_in_it_is_python() -> None:
    for name, content in render(answers_for("x" * 50), WHEEL).items():
        if name.endswith(".py"):
            ast.parse(content)
            assert max(map(len, content.decode().splitlines())) <= 100


def test_hostile_texts_stay_texts() -> None:
    files = render(answers_for("cats", description=HOSTILE, author=HOSTILE), WHEEL)
    project = tomllib.loads(files["pyproject.toml"].decode())["project"]
    for text in (project["description"], project["authors"][0]["name"]):
        assert text.startswith("a \"quote\", 'another', a \\ and a line, $(x) `y` {{ name }}")
        assert "\n" not in text
    assert "{{ name }}" in files["README.md"].decode()


def test_perdure_comes_from_where_it_can_be_had() -> None:
    brought = tomllib.loads(render(answers_for("cats"), WHEEL)["pyproject.toml"].decode())
    assert "perdure" in brought["project"]["dependencies"]
    path = brought["tool"]["uv"]["sources"]["perdure"]["path"]
    assert path == "vendor/perdure-9-py3-none-any.whl"
    files = render(answers_for("cats"), None)
    fetched = tomllib.loads(files["pyproject.toml"].decode())
    assert any(each.startswith("perdure==") for each in fetched["project"]["dependencies"])
    assert "perdure" not in fetched["tool"]["uv"]["sources"]
    assert not any(name.startswith("vendor/") for name in files)


def test_a_new_project_can_be_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "a folder $(x) é" / "cats"
    files = create_project(folder, answers_for("my-cats"))
    assert all((folder / file).is_file() for file in files)
    on_disk = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    assert {path for path in on_disk if path.parts[0] != ".git"} == set(files)
    project = load_project(folder)
    assert (project.name, project.package) == ("my-cats", "my_cats")
    assert project.tasks["train"].command == ("python", "-m", "my_cats.train")
    assert project.environment.variants == ("cpu", "cuda")
    assert all(
        isinstance(path, Path) and path.is_file() for path in project.environment.apt.values()
    )


def test_its_history_begins_with_the_template(tmp_path: Path) -> None:
    folder = tmp_path / "cats"
    create_project(folder, answers_for("cats"))
    base = git(folder, "rev-parse", history.TEMPLATE_REF)
    assert git(folder, "rev-parse", "HEAD~1") == base
    assert git(folder, "symbolic-ref", "HEAD") == "refs/heads/main"
    assert git(folder, "status", "--porcelain") == ""
    record = tomllib.loads((folder / RECORD).read_text())
    assert record["base"] == base
    assert record["version"] == template.VERSION
    assert record["answers"]["name"] == "cats"
    assert RECORD not in git(folder, "ls-tree", "-r", "--name-only", base).splitlines()


def test_data_and_results_are_ignored_but_for_their_readme(tmp_path: Path) -> None:
    folder = tmp_path / "cats"
    create_project(folder, answers_for("cats"))
    for name in ("data/big.bin", "results/job/job.json", ".perdure/x", "src/cats/a.pyc"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    assert git(folder, "status", "--porcelain") == ""
    tracked = git(folder, "ls-files").splitlines()
    assert {"data/README.md", "results/README.md"} <= set(tracked)


def test_a_users_ignore_rules_and_hooks_have_no_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "pre-commit").write_text("#!/bin/sh\nexit 1\n")
    (hooks / "pre-commit").chmod(0o755)
    (tmp_path / "ignored").write_text("*.whl\n*.toml\n")
    config = tmp_path / "config"
    config.write_text(
        f"[core]\nhooksPath = {hooks}\nexcludesFile = {tmp_path / 'ignored'}\nautocrlf = true\n"
        "[commit]\ngpgSign = true\n[init]\ndefaultBranch = trunk\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "somewhere-else"))
    folder = tmp_path / "cats"
    create_project(folder, answers_for("cats"))
    monkeypatch.delenv("GIT_DIR")
    assert git(folder, "symbolic-ref", "HEAD") == "refs/heads/trunk"
    assert any(name.endswith(".whl") for name in git(folder, "ls-files").splitlines())
    # Nobody has told git a name.
    assert git(folder, "log", "-1", "--format=%an") == "perdure"


def test_without_git_there_is_a_project_and_one_line_about_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    told: list[str] = []
    folder = tmp_path / "cats"
    create_project(folder, answers_for("cats"), report=lambda message, **_: told.append(message))
    assert len(told) == 1
    assert "git was not found" in told[0]
    assert "base" not in tomllib.loads((folder / RECORD).read_text())
    assert not (folder / ".git").exists()


def test_a_repository_around_it_keeps_its_files(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    told: list[str] = []
    folder = tmp_path / "cats"
    create_project(folder, answers_for("cats"), report=lambda message, **_: told.append(message))
    assert not (folder / ".git").exists()
    assert "part of a git repository" in told[0]


def test_a_repository_that_ignores_it_does_not(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / ".gitignore").write_text("/demo/\n")
    create_project(tmp_path / "demo" / "cats", answers_for("cats"))
    assert (tmp_path / "demo" / "cats" / ".git").is_dir()


def test_an_empty_folder_is_used_and_a_full_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    create_project(tmp_path / "empty", answers_for("cats"))
    with pytest.raises(ConflictError, match="not an empty folder"):
        create_project(tmp_path / "empty", answers_for("cats"))
    (tmp_path / "file").touch()
    with pytest.raises(ConflictError):
        create_project(tmp_path / "file", answers_for("cats"))
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConflictError):
        create_project(tmp_path / "link", answers_for("cats"))
    with pytest.raises(StorageError):
        create_project(tmp_path / "file" / "below", answers_for("cats"))


def test_a_refused_name_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        create_project(tmp_path / "x", Answers("cats", "code"))
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("existed", [False, True])
def test_a_failure_leaves_nothing_behind(
    existed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cats"
    if existed:
        folder.mkdir()

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(history, "begin", full)
    with pytest.raises(StorageError, match="no space left on device"):
        create_project(folder, answers_for("cats"))
    assert folder.exists() is existed
    assert not existed or not any(folder.iterdir())


def test_what_git_complains_of_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "begin", lambda *_: history.must(tmp_path, "no-such-verb"))
    with pytest.raises(PerdureError, match="no-such-verb"):
        create_project(tmp_path / "cats", answers_for("cats"))
    assert not (tmp_path / "cats").exists()


def test_the_makefile_lists_its_targets(tmp_path: Path) -> None:
    create_project(tmp_path / "cats", answers_for("cats"))
    listed = local.run(["make", "-C", str(tmp_path / "cats"), "-s"], timeout_s=120).text
    for target in ("run_training", "kill_training", "connect_training", "ps", "lint", "drill"):
        assert f"make {target}: " in listed


FOLDERS = ("code", "data", "notebooks", "all")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made") / "cats"
    create_project(root, answers_for("cats"))
    return root


FAMILIAR = [
    *(f"{verb}_{what}" for verb in ("upload", "download", "clean") for what in FOLDERS),
    *(f"{verb}_{what}" for verb in ("run", "kill") for what in ("jupyter", "tensorboard")),
    *("run_filebrowser", "kill_filebrowser", "run_training", "kill_training"),
]


@pytest.mark.parametrize("target", [*FAMILIAR, "connect_training", "kill"])
def test_a_familiar_name_is_one_verb(made: Path, target: str) -> None:
    """What users of other templates type is there, and is one command that they can read."""
    words = ["make", "-C", str(made), "--dry-run", "-s", target, "ARGS=--yes"]
    here, there = (
        local.run([*words, *more], timeout_s=120).text.split("\n") for more in ([], ["ON=gpubox"])
    )
    (line,), (far,) = here, there
    assert line.startswith("perdure ")
    assert "--on" not in line
    # A job knows where it runs.
    knows = target in ("connect_training", "kill_training", "kill")
    assert ("--on gpubox" in far) is not knows
