"""What is taken over from requirements.txt, setup.cfg, setup.py and environment.yml."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.project.imported import Imported, name_of, read_imported


def read(folder: Path, **files: str) -> Imported:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return read_imported(folder)


def test_nothing(tmp_path: Path) -> None:
    assert read(tmp_path) == Imported()


REQUIREMENTS = """\
# a comment
numpy>=1.2,<3  # why
torch==2.1.0 --hash=sha256:aa \\
    --hash=sha256:bb
pandas [excel, html] ~= 2.0 ; python_version > "3.8"
scipy (>=1.0)
-r requirements/more.txt
-r ../outside.txt
--requirement=requirements.txt
-e .
-e git+https://github.com/who/foo.git@v1#egg=foo
git+ssh://git@github.com/who/bar#egg=bar&subdirectory=x
baz @ https://example.org/baz-1.whl
--index-url https://user:secret@example.org/simple
qux @ https://user:secret@example.org/qux.whl
./local/thing.whl
no such name
$(rm -rf x)
"""


def test_requirements(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (tmp_path / "outside.txt").write_text("evil\n")
    found = read(
        root, **{"requirements.txt": REQUIREMENTS, "requirements/more.txt": "six\n-r ./more.txt\n"}
    )
    assert found.dependencies == (
        "numpy>=1.2,<3",
        "torch==2.1.0",
        'pandas [excel, html] ~= 2.0 ; python_version > "3.8"',
        "scipy (>=1.0)",
        "six",
        "foo @ git+https://github.com/who/foo.git@v1",
        "bar @ git+ssh://git@github.com/who/bar",
        "baz @ https://example.org/baz-1.whl",
    )
    notes = "\n".join(found.notes)
    for refused in ("../outside.txt", "./local/thing.whl", "no such name", "$(rm -rf x)"):
        assert refused in notes
    assert "secret" not in notes
    assert "https://***@example.org/simple" in notes
    assert "requirements.txt:14: " in notes


@pytest.mark.timeout(120)  # what looks at each part for each other part takes hours
def test_a_long_line_takes_no_long_time(tmp_path: Path) -> None:
    found = read(
        tmp_path, **{"requirements.txt": "a" + "==1" * 5000 + "(\n" + "b" + ",<1 " * 5000 + "("}
    )
    assert len(found.notes) == 2


SETUP = """\
import os
from setuptools import setup, find_packages
open("was-executed", "w").close()
setup(
    name="cats", version="2.0", description="it's\\nabout cats",
    install_requires=["numpy>=1", "odd name"],
    packages=find_packages(),
)
"""


def test_setup_py_is_read_and_never_run(tmp_path: Path) -> None:
    found = read(tmp_path, **{"setup.py": SETUP})
    assert (found.name, found.version) == ("cats", "2.0")
    assert found.dependencies == ("numpy>=1",)
    assert found.notes == ("not taken over from setup.py: `odd name`",)
    assert not (tmp_path / "was-executed").exists()


def test_what_setup_py_computes_becomes_a_note(tmp_path: Path) -> None:
    text = (
        "import setuptools\nsetuptools.setup(install_requires=open('r').read().split(), **more)\n"
    )
    found = read(tmp_path, **{"setup.py": text})
    assert found.dependencies == ()
    assert "computes `install_requires`" in found.notes[0]


@pytest.mark.parametrize("text", ["def (", "x" * 10, "\0", "(" * 5000])
def test_a_broken_setup_py(text: str, tmp_path: Path) -> None:
    assert read(tmp_path, **{"setup.py": text}).dependencies == ()


def test_setup_cfg(tmp_path: Path) -> None:
    text = "[metadata]\nname = dogs\nversion = attr: dogs.v\n[options]\ninstall_requires =\n  six\n"
    found = read(tmp_path, **{"setup.cfg": text})
    assert (found.name, found.version, found.dependencies) == ("dogs", "", ("six",))
    assert read(tmp_path, **{"setup.cfg": "[flake8]\nx = 1\n"}) == Imported()
    assert read(tmp_path, **{"setup.cfg": "no section"}).notes == ("setup.cfg cannot be read",)


PIP_ONLY = """\
name: x
channels: [conda-forge]
dependencies:
  - python=3.10   # this one
  - pip
  - pip:
    - numpy >= 1
    - "six"
prefix: /home/me
"""


def test_an_environment_that_is_for_pip_only(tmp_path: Path) -> None:
    found = read(tmp_path, **{"environment.yml": PIP_ONLY})
    assert (found.python, found.conda) == ("3.10", "")
    assert found.dependencies == ("numpy >= 1", "six")


@pytest.mark.parametrize(
    "text",
    [
        PIP_ONLY.replace("  - pip\n", "  - pytorch::pytorch\n"),
        "dependencies: [python=3.10, numpy]\n",
        PIP_ONLY.replace("  - pip\n", "  - python-dateutil\n"),
    ],
)
def test_an_environment_that_needs_conda_stays_one(text: str, tmp_path: Path) -> None:
    found = read(tmp_path, **{"environment.yml": text})
    assert found.conda == "environment.yml"
    assert found.dependencies == ()


def test_the_later_file_says_it_better(tmp_path: Path) -> None:
    setup = 'from setuptools import setup\nsetup(install_requires=["NumPy", "six"])\n'
    files = {"setup.py": setup, "requirements.txt": "numpy==1.2\n", ".python-version": "3.12.1\n"}
    found = read(tmp_path, **files)
    assert found.dependencies == ("numpy==1.2", "six")
    assert found.python == "3.12"
    assert found.files == ("setup.py", "requirements.txt", ".python-version")


def test_names_are_compared_as_indexes_do() -> None:
    assert name_of("Foo._Bar[x]>=1") == "foo-bar"
    assert name_of("???") == ""
