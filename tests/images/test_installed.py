"""A project installed in its image, editable and without its code: as pip and Python see it."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.images.installed import COMMANDS, SITE, installed_files
from perdure.images.tag import tag_of
from perdure.model.image import Stage
from perdure.project.distribution import Distribution
from tests.engines.engines import RealEngine
from tests.images.recipes import RECIPE, built, inside, recipe_for, removed

CATS = Distribution(
    "My.Cats",
    "1.2-post1",
    ">=3.9",
    {"console_scripts": {"cats-train": "cats.train:App.main"}, "cats.plugins": {"x": "cats"}},
)
FOLDER = f"{SITE}/my_cats-1.2_post1.dist-info"


def test_the_files_of_an_editable_installation() -> None:
    files = installed_files(CATS)
    assert files == installed_files(CATS)
    assert files[f"{SITE}/_perdure_project.pth"] == "/project/code/src\n/project/code\n"
    assert files[f"{FOLDER}/METADATA"].splitlines()[1:] == [
        "Name: My.Cats",
        "Version: 1.2-post1",
        "Requires-Python: >=3.9",
    ]
    assert json.loads(files[f"{FOLDER}/direct_url.json"])["dir_info"] == {"editable": True}
    assert (
        "[console_scripts]\ncats-train = cats.train:App.main"
        in (files[f"{FOLDER}/entry_points.txt"])
    )
    command = files[f"{COMMANDS}/cats-train"]
    assert "from cats.train import App" in command
    assert "sys.exit(App.main())" in command


def test_the_record_names_each_file_with_its_digest() -> None:
    files = installed_files(CATS)
    rows = [line.split(",") for line in files[f"{FOLDER}/RECORD"].splitlines()]
    assert {row[0] for row in rows} == {
        *(name.removeprefix(f"{SITE}/") for name in files if name.startswith(SITE)),
        "../../../bin/cats-train",
    }
    for name, digest, size in rows:
        if digest:
            content = files[f"{SITE}/{name}"].encode()
            wanted = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode()
            assert (digest, size) == (f"sha256={wanted.rstrip('=')}", str(len(content)))


def test_without_a_version_there_are_commands_and_no_metadata() -> None:
    files = installed_files(replace(CATS, version=None))
    assert set(files) == {f"{SITE}/_perdure_project.pth", f"{COMMANDS}/cats-train"}


def test_the_image_depends_on_what_is_declared() -> None:
    other = replace(RECIPE, itself=CATS)
    for stage in Stage:
        assert tag_of(other, stage) != tag_of(RECIPE, stage)
        newer = replace(other, itself=replace(CATS, version="1.3"))
        assert tag_of(newer, stage) != tag_of(other, stage)


LOOK = """\
set -e
mkdir -p src/cats
echo 'import sys
class App:
    def main():
        import six
        print("cats", sys.argv[1:], sys.prefix)' > src/cats/train.py
touch src/cats/__init__.py
cd /
cats-train "a  b"
python -c 'import importlib.metadata as m; print(m.version("my-cats"), len(m.files("my-cats")))'
python -c 'import cats; print(cats.__file__)'
"""
LISTED = (
    "pip list --format=freeze --editable; uv pip list --format=freeze | grep -i cats; pip check"
)


@pytest.mark.install
@pytest.mark.timeout(600)
def test_commands_and_metadata_in_both_stages(engine: RealEngine, tmp_path: Path) -> None:
    with removed(engine) as name:
        recipe = recipe_for(project=name, itself=CATS)
        runtime, _ = built(recipe, Stage.RUNTIME, tmp_path / "c")
        dev, _ = built(recipe, Stage.DEV, tmp_path / "c")
        for tag, prefix in ((runtime.tag, "/opt/venv"), (dev.tag, "/opt/dev")):
            assert inside(engine, tag, "sh", "-c", LOOK).splitlines() == [
                f"cats ['a  b'] {prefix}",
                "1.2-post1 7",
                "/project/code/src/cats/__init__.py",
            ]
        told = inside(engine, dev.tag, "sh", "-c", LISTED)
        assert "My.Cats==1.2" in told
        assert "No broken requirements found" in told
        gone = inside(engine, dev.tag, "pip", "uninstall", "--yes", "my.cats")
        assert "Successfully uninstalled" in gone
