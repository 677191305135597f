"""The image of a job, planned: its tag is known before anything is built."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.images.context import code_files, listed_files
from perdure.images.tag import tag_of
from perdure.jobs.snapshot import make_snapshot, read_tree
from perdure.model.image import Stage
from perdure.model.report import silent
from tests.engines.engines import RealEngine
from tests.engines.user import OrdinaryUser
from tests.images.recipes import RECIPE, removed
from tests.jobs.projects import make_project

PYPROJECT = """\
[project]
name = "{name}"
version = "0"
requires-python = "==3.11.*"

[dependency-groups]
dev = []

[tool.perdure]
format = 1
package = "cats"

[tool.perdure.tasks]
look = "cats-look --x"

[project.scripts]
cats-look = "cats:look"
"""
LOOK = "def look():\n    import sys\n\n    print('looked', sys.argv[1:])\n"


def test_a_list_of_files_names_the_image_as_their_snapshot_does(tmp_path: Path) -> None:
    files = {"a.py": "1", "b/a.py": "2", "b/c/d": "3", "bb": "4", "\u00e9 \n'": "5"}
    project = make_project(tmp_path / "p", files)
    (project.root / "bb").chmod(0o755)
    (project.root / "b" / "link").symlink_to("../a.py")
    (project.root / "folder").symlink_to("b")
    tree = read_tree(project, silent, store=True)
    listed = listed_files((path, f"{e.kind}:{e.content}") for path, e in tree.entries.items())
    snapshot = make_snapshot(project, tree)
    assert sorted(listed) == sorted(code_files(snapshot))
    assert tag_of(RECIPE, Stage.RUNTIME, listed) == tag_of(RECIPE, Stage.RUNTIME, snapshot)
    assert tag_of(RECIPE, Stage.RUNTIME, listed) != tag_of(RECIPE, Stage.RUNTIME)


@pytest.mark.install
@pytest.mark.timeout(600)
def test_the_tag_is_explained_and_then_built_and_a_task_may_be_the_projects_own_command(
    old_engine: RealEngine, as_user: OrdinaryUser
) -> None:
    with removed(old_engine) as name:
        root = as_user.folder / "my cats"
        (root / "src" / "cats").mkdir(parents=True)
        (root / "src" / "cats" / "__init__.py").write_text(LOOK)
        (root / "pyproject.toml").write_text(PYPROJECT.format(name=name))
        as_user.give(root)
        env = as_user.leading_to(old_engine)
        for words in ((), ("--pegged",)):
            ran = as_user.perdure("run", "--on", "docker", *words, "look", cwd=root, env=env)
            assert ran.code == 0, ran.err
            assert ran.out.splitlines()[-1] == "looked ['--x']"
        told = as_user.perdure(
            "run", "--on", "docker", "--pegged", "--explain", "look", cwd=root, env=env
        )
        built = as_user.perdure("build", "--pegged", cwd=root, env=env)
        explained = as_user.perdure("build", "--pegged", "--explain", cwd=root, env=env)
        assert built.code == 0, built.err
        assert built.out.strip() in told.out
        assert f"--tag={built.out.strip()}" in explained.out
        # An edit of the code builds no other image of those without it.
        plain = as_user.perdure("build", cwd=root, env=env)
        (root / "src" / "cats" / "__init__.py").write_text(LOOK.replace("looked", "saw"))
        assert as_user.perdure("build", cwd=root, env=env).out == plain.out
        assert as_user.perdure("build", "--pegged", cwd=root, env=env).out != built.out
        assert as_user.of_others(root) == []
