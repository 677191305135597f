"""Existing repositories made projects: what is written, what is refused, and that git shows it."""

from __future__ import annotations

import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest

from perdure.errors import ConflictError, PerdureError, StorageError, UsageError
from perdure.project import adopt as module
from perdure.project import template
from perdure.project.adopt import Adoption, adopt, plan_adoption
from perdure.project.decode import load_project
from perdure.project.wheel import Wheel
from tests.cli.command import is_one_error, perdure

MAIN = 'if __name__ == "__main__":\n    print("hello")\n'
WHEEL = Wheel("perdure-9-py3-none-any.whl", b"PK")
PYPROJECT = """\
# A comment at the top.
[build-system]  # kept
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "cats"   # the name
version = "1"
requires-python = ">=3.10"
dependencies = [
    "numpy>=1",  # numbers
]

[tool.black]
line-length = 99
"""


@pytest.fixture(autouse=True)
def small_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template, "own_wheel", lambda: WHEEL)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "a repository $(x) 'é'"
    folder.mkdir()
    git(folder, "init", "-q")
    return folder


def git(folder: Path, *words: str) -> str:
    argv = ["git", "-C", str(folder), *words]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def fill(root: Path, **files: str) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "as it was", "--allow-empty")


def adopted(root: Path, package: str | None = None) -> Adoption:
    plan = plan_adoption(root, package)
    adopt(plan)
    load_project(root)
    return plan


def document(root: Path) -> dict[str, dict[str, object]]:
    return tomllib.loads((root / "pyproject.toml").read_text())


def tree(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".git" not in path.parts
    }


CATS = {
    "pyproject.toml": PYPROJECT,
    "src/cats/__init__.py": "",
    "src/cats/train.py": MAIN,
    "src/cats/deep/er.py": MAIN,
    "src/cats/library.py": "x = 1\n",
    "README.md": "mine",
}


def test_a_package_in_src(root: Path) -> None:
    fill(root, **CATS)
    plan = adopted(root)
    assert plan.tasks == {
        "train": ("python", "-m", "cats.train"),
        "er": ("python", "-m", "cats.deep.er"),
    }
    project = load_project(root)
    assert (project.name, project.package) == ("cats", "cats")
    assert project.tasks["train"].command == ("python", "-m", "cats.train")
    # All that was there is there, in its order; what came is added.
    text = (root / "pyproject.toml").read_text()
    lines = text.splitlines()
    assert [line for line in PYPROJECT.splitlines() if line not in lines] == []
    assert '    "perdure",\n]' in text
    assert document(root)["tool"]["uv"] == {
        "sources": {"perdure": {"path": f"vendor/{WHEEL.name}"}}
    }
    changed = git(root, "status", "--porcelain", "-uall").splitlines()
    assert {line.split()[-1] for line in changed} == {
        *("pyproject.toml", ".gitignore", "data/README.md", "results/README.md"),
        f"vendor/{WHEEL.name}",
    }
    assert git(root, "log", "--format=%s") == "as it was"


def test_the_second_time_there_is_nothing_to_do(root: Path) -> None:
    fill(root, **{"train.py": MAIN})
    adopted(root)
    before = tree(root)
    plan = plan_adoption(root)
    assert plan.changes == ()
    adopt(plan)
    assert tree(root) == before


def test_the_plan_changes_nothing(root: Path) -> None:
    fill(root, **{"train.py": MAIN, "pyproject.toml": PYPROJECT})
    before = tree(root)
    assert len(plan_adoption(root).changes) == 5
    assert tree(root) == before
    assert git(root, "status", "--porcelain") == ""


def test_a_flat_package_stays_where_it_is(root: Path) -> None:
    fill(root, **{"dogs/__init__.py": "", "dogs/__main__.py": "", "tests/__init__.py": ""})
    plan = adopted(root)
    assert plan.layout.package == "dogs"
    assert plan.tasks == {"dogs": ("python", "-m", "dogs")}
    assert any("the project's own folder" in note for note in plan.notes)


def test_src_as_the_package_itself(root: Path) -> None:
    fill(root, **{"src/__init__.py": "", "src/train.py": MAIN})
    assert adopted(root).tasks == {"train": ("python", "-m", "src.train")}


def test_scripts_without_a_package(root: Path) -> None:
    name = "scripts/train `it` $(x) 'é'.py"
    fill(root, **{name: MAIN, "train.py": "print(1)", "-c.py": MAIN, "setup.py": MAIN, "h.py": ""})
    plan = adopted(root)
    assert plan.tasks == {
        "train-it-x": ("python", name),
        "train": ("python", "train.py"),
        "c": ("python", "./-c.py"),
    }
    assert load_project(root).tasks["train-it-x"].command == ("python", name)


def test_two_programs_of_one_name(root: Path) -> None:
    fill(root, **{"src/cats/train.py": MAIN, "scripts/train.py": MAIN, "train.py": MAIN})
    assert set(adopted(root).tasks) == {"train", "scripts.train", "root.train"}


def test_several_packages_have_to_be_chosen_from(root: Path) -> None:
    fill(root, **{"src/a/x.py": MAIN, "src/b/x.py": MAIN})
    with pytest.raises(UsageError, match="several packages: `a`, `b`") as caught:
        plan_adoption(root)
    assert caught.value.hint == "perdure adopt --package a"
    with pytest.raises(UsageError, match="no package `c`"):
        plan_adoption(root, "c")
    assert adopted(root, "b").tasks == {"x": ("python", "-m", "b.x")}


def test_of_several_packages_the_projects_own_is_taken(root: Path) -> None:
    text = PYPROJECT.replace('"cats"', '"my-cats"')
    fill(root, **{"pyproject.toml": text, "src/my_cats/x.py": MAIN, "src/other/x.py": MAIN})
    assert adopted(root).layout.package == "my_cats"


@pytest.mark.parametrize("name", ["code", "json", "class"])
def test_a_package_that_hides_pythons_own(name: str, root: Path) -> None:
    fill(root, **{f"src/{name}/train.py": MAIN})
    with pytest.raises(UsageError, match=f"`src/{name}` cannot stay") as caught:
        plan_adoption(root)
    assert (caught.value.hint or "").startswith(f"git mv src/{name} ")


def test_a_folder_with_a_bad_name_and_no_package(tmp_path: Path) -> None:
    folder = tmp_path / "3 code!"
    folder.mkdir()
    (folder / "train.py").write_text(MAIN)
    assert adopted(folder).layout.package == "project_3_code"
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "train.py").write_text(MAIN)
    assert adopted(tmp_path / "code").layout.package == "code_project"


def test_nothing_to_adopt(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no Python program"):
        plan_adoption(root)
    with pytest.raises(UsageError, match="no folder"):
        plan_adoption(tmp_path / "nowhere")


def test_existing_files_are_never_overwritten(root: Path) -> None:
    fill(root, **{"train.py": MAIN, "data/mine.csv": "1,2", "results/plot.svg": "<svg/>"})
    plan = adopted(root)
    assert sorted(path.name for path in (root / "data").iterdir()) == ["mine.csv"]
    assert sorted(path.name for path in (root / "results").iterdir()) == ["plot.svg"]
    ignored = (root / ".gitignore").read_text().splitlines()
    assert "results/*" in ignored
    assert "data/*" not in ignored
    assert sum("git has files in" in note for note in plan.notes) == 2


def test_a_symlinked_data_folder_is_left_alone(root: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (root / "data").symlink_to(tmp_path / "elsewhere")
    fill(root, **{"train.py": MAIN})
    adopted(root)
    assert (root / "data").is_symlink()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_another_file_in_the_place_of_the_wheel(root: Path) -> None:
    fill(root, **{"train.py": MAIN, f"vendor/{WHEEL.name}": "another"})
    with pytest.raises(ConflictError, match="is in the way"):
        plan_adoption(root)


def test_a_file_that_came_meanwhile_stays_and_all_is_taken_back(root: Path) -> None:
    fill(root, **{"train.py": MAIN, "pyproject.toml": PYPROJECT, ".gitignore": "x"})
    plan = plan_adoption(root)
    (root / "results").mkdir()
    (root / "results" / "README.md").write_text("mine")
    before = tree(root)
    with pytest.raises(ConflictError, match="is there by now"):
        adopt(plan)
    assert tree(root) == before
    assert not (root / "data").exists()
    (root / "pyproject.toml").write_text(PYPROJECT + "# more\n")
    with pytest.raises(ConflictError, match="changed meanwhile"):
        adopt(plan)


def test_a_full_disk_leaves_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(root, **{"train.py": MAIN, "pyproject.toml": PYPROJECT})
    plan = plan_adoption(root)
    before = tree(root)
    write = module._write

    def full(folder: Path, change: module.Change, undo: list[module.Undo]) -> None:
        if change.name.startswith("vendor"):
            raise OSError(28, "No space left on device")
        write(folder, change, undo)

    monkeypatch.setattr(module, "_write", full)
    with pytest.raises(StorageError, match="no space left"):
        adopt(plan)
    assert tree(root) == before


def test_uncommitted_changes_of_the_same_files_are_refused(root: Path) -> None:
    fill(root, **{"train.py": MAIN, "pyproject.toml": PYPROJECT})
    (root / "train.py").write_text(MAIN + "# more\n")
    plan_adoption(root)
    (root / "pyproject.toml").write_text(PYPROJECT + "# more\n")
    with pytest.raises(ConflictError, match=r"`pyproject.toml` has uncommitted changes"):
        plan_adoption(root)


def test_without_a_repository_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(MAIN)
    assert any("no git repository" in note for note in adopted(tmp_path).notes)


def test_what_git_ignores_already_is_not_said_twice(root: Path) -> None:
    fill(
        root, **{"train.py": MAIN, ".gitignore": "/results/\ndata\n*.whl\n__pycache__/\r\n.venv\n"}
    )
    plan = adopted(root)
    added = (root / ".gitignore").read_bytes().decode().split("\r\n")
    assert [line for line in added if line.startswith((".perdure", "results", "data"))] == [
        ".perdure/"
    ]
    assert any("git add -f vendor" in note for note in plan.notes)


def test_lines_end_as_they_did(root: Path) -> None:
    fill(root, **{"src/cats/train.py": MAIN})
    (root / "pyproject.toml").write_bytes(PYPROJECT.replace("\n", "\r\n").encode())
    fill(root)
    adopted(root)
    written = (root / "pyproject.toml").read_bytes()
    assert written.count(b"\n") == written.count(b"\r\n")


POETRY = '[tool.poetry]\nname = "x"\n[tool.poetry.dependencies]\nnumpy = "*"\n'
REFUSED = {
    "broken": ("[project\n", "not valid TOML"),
    "poetry": (POETRY, r"in `\[tool.poetry\]`"),
    "inline": ('tool = {black = {x = 1}}\n[project]\nname = "x"\n', "no table can be added"),
    "odd": ('[project]\nname = "x"\ndependencies = "numpy"\n', "is no list"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_extended_is_refused(name: str, root: Path) -> None:
    text, message = REFUSED[name]
    fill(root, **{"train.py": MAIN, "pyproject.toml": text})
    with pytest.raises(PerdureError, match=message):
        plan_adoption(root)


@pytest.mark.parametrize(
    "text",
    [
        '[tool.a]\nx = 1\n[project]\nname = "x"\n[tool.b]\ny = 1\n',
        '[tool.uv]\npackage = false\n[project]\nname = "x"\n[tool.b]\ny = 1\n',
        '[project]\nname = "x"\ndependencies = []\n[tool.uv]\nsources = {six = {path = "x"}}\n',
        '[tool]\nuv = {package = false}\n[project]\nname = "x"\n',
        '[tool.uv.sources]\nsix = {path="x"}\n[project]\nname = "x"\n[[tool.uv.index]]\nname="a"\n',
        '[project]\nname = "x"\n\n[project.urls]\nHome = "x"\n',
        'project.name = "x"\nproject.version = "1"\n',
        "# only a comment",
        "",
    ],
)
def test_tables_in_any_order(text: str, root: Path) -> None:
    fill(root, **{"train.py": MAIN, "pyproject.toml": text, "requirements.txt": "numpy\n"})
    before = document(root)
    adopted(root)
    after = document(root)
    sources = after["tool"]["uv"]["sources"]  # type: ignore[index]
    assert sources["perdure"] == {"path": f"vendor/{WHEEL.name}"}
    wanted = [] if "dependencies" in before.get("project", {}) else ["numpy"]
    assert after["project"]["dependencies"] == [*wanted, "perdure"]
    for key, value in before.get("tool", {}).items():
        assert key == "uv" or after["tool"][key] == value


def test_dynamic_dependencies_are_left_to_a_person(root: Path) -> None:
    text = (
        '[project]\nname = "x"\ndynamic = ["version", "dependencies"]\nrequires-python = ">=3.7"\n'
    )
    fill(root, **{"train.py": MAIN, "pyproject.toml": text, "requirements.txt": "numpy\n"})
    plan = adopted(root)
    assert "dependencies" not in document(root)["project"]
    assert "version" not in document(root)["project"]
    assert any("dynamic: add `perdure`" in note for note in plan.notes)
    assert any("`>=3.7`, and perdure runs from 3.9" in note for note in plan.notes)


def test_from_an_index_perdure_is_a_requirement(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template, "own_wheel", lambda: None)
    fill(root, **{"train.py": MAIN})
    adopted(root)
    assert str(document(root)["project"]["dependencies"]).startswith("['perdure==")
    assert "uv" not in document(root)["tool"]


def test_the_verb(root: Path) -> None:
    fill(root, **{"src/cats/train.py": MAIN, "pyproject.toml": PYPROJECT})
    before = tree(root)
    explained = perdure("adopt", str(root), "--explain")
    assert explained.code == 0, explained.err
    assert "+[tool.perdure]" in explained.out
    assert "train  python -m cats.train" in explained.out
    assert is_one_error(perdure("adopt", cwd=root), 2, "nobody is here to answer", "--yes")
    file = root / "pyproject.toml"
    assert is_one_error(perdure("adopt", str(file), "--yes"), 2, "is no folder", "adopt DIR")
    assert tree(root) == before
    done = perdure("adopt", "--yes", cwd=root)
    assert done.code == 0, done.err
    assert "nothing is committed" in done.err
    assert "next: perdure run train" in done.err
    again = perdure("adopt", str(root), "--yes")
    assert again.code == 0
    assert "a project already" in again.err
    assert shlex.split("perdure run train")


def test_what_setup_py_says_is_taken_over(root: Path) -> None:
    setup = (
        'from setuptools import setup\nsetup(name="The Cats!", version="2", description="a\\nb")\n'
    )
    fill(root, **{"train.py": MAIN, "setup.py": setup})
    adopted(root)
    project = document(root)["project"]
    assert (project["name"], project["version"]) == ("The-Cats", "2")
    assert project["description"] == "a b"
