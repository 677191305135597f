"""A real browser: JupyterLab imports the project, TensorBoard draws a job that still runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.cli.command import Ended, is_one_error, perdure
from tests.e2e.browsing import Browser, install
from tests.engines.engines import RealEngine
from tests.engines.hosts import Laptop
from tests.engines.user import OrdinaryUser
from tests.waiting import until

pytestmark = [pytest.mark.install]

SRC = Path(__file__).resolve().parents[2] / "src"
DRIVE_S = 240.0
PYPROJECT = """\
[project]
name = "cats"
version = "0"
[tool.perdure]
format = 1
package = "cats"
[tool.perdure.tasks]
train = "python -m cats.train"
"""
TRAIN = """\
import math, time
import perdure

run = perdure.start()
state = {"step": 0}
run.track(state=state)
for step in run.steps(100_000):
    state["step"] = step
    run.log(loss=math.exp(-step / 300) + 0.02 * math.sin(step))
    time.sleep(0.05)
"""
CONTAINED = """\
[project]
name = "cats"
version = "0"
requires-python = ">=3.9"
dependencies = ["packaging==24.0"]
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[tool.perdure]
format = 1
package = "cats"
"""
CELL = "import cats; print(6 * 7, cats.__file__)"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a project of this machine, which finds the `perdure` that is tested."""
    folder = tmp_path / "a project"
    package = folder / "src" / "cats"
    package.mkdir(parents=True)
    (folder / "notebooks").mkdir()
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (package / "__init__.py").write_text("")
    (package / "train.py").write_text(TRAIN)
    programs = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(SRC))
    yield folder
    perdure("kill", "--all", "--yes", cwd=folder)
    perdure("services", "--stop", "all", cwd=folder)


def run_here(words: Sequence[str], stdin: str) -> subprocess.CompletedProcess[str]:
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        words, input=stdin, capture_output=True, text=True, timeout=DRIVE_S, env=environ
    )


def address(project: Path, name: str) -> str:
    done = perdure(name, "--no-browser", cwd=project)
    assert done.code == 0, done.err
    return done.out.strip()


def saw_it_go_on(said: str) -> bool:
    """Return whether a curve was longer when it was looked at again."""
    before, after = map(int, said.split())
    return 0 < before < after


@pytest.mark.long
@pytest.mark.timeout(300)
def test_jupyterlab_imports_the_project(project: Path, tmp_path: Path) -> None:
    browser = Browser(install(tmp_path / "browser"), run_here, "jupyter")
    lab = address(project, "jupyter")
    browser.drive("refused", lab.partition("?")[0])
    browser.drive("notebook", lab, CELL, f"42 {project}/src/cats/__init__.py")
    assert list((project / "notebooks").glob("*.ipynb"))


@pytest.mark.long
@pytest.mark.timeout(300)
def test_tensorboard_draws_a_job_that_runs(project: Path, tmp_path: Path) -> None:
    browser = Browser(install(tmp_path / "browser"), run_here, "tensorboard")
    assert perdure("run", "-d", "--name", "live", "train", cwd=project).code == 0
    assert saw_it_go_on(browser.drive("curve", address(project, "tensorboard"), "loss", "asked"))
    browser.drive("folder", address(project, "files"), "live")
    assert '"RUNNING"' in perdure("ps", "--json", cwd=project).out


class Contained:
    """An ordinary user's project, whose jobs run in containers of an engine."""

    def __init__(self, user: OrdinaryUser, engine: RealEngine) -> None:
        self.user = user
        self.project = user.home / "a project"
        self._env = user.leading_to(engine)
        (self.project / "src" / "cats").mkdir(parents=True)
        (self.project / "notebooks").mkdir()
        (self.project / "src" / "cats" / "__init__.py").write_text("")
        (self.project / "pyproject.toml").write_text(CONTAINED)
        user.give(self.project)

    def perdure(self, *words: str) -> Ended:
        return self.user.perdure(*words, cwd=self.project, env=self._env)

    def out(self, *words: str) -> str:
        done = self.perdure(*words)
        assert done.code == 0, done.err
        return done.out.strip()


@pytest.fixture
def contained(as_user: OrdinaryUser, engine: RealEngine) -> Iterator[Contained]:
    made = Contained(as_user, engine)
    yield made
    made.perdure("services", "--stop", "all")


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_jupyterlab_in_a_container_has_the_images_kernel(
    contained: Contained, engine: RealEngine, tmp_path: Path
) -> None:
    """As an ordinary user, in the image to develop in; the container's network stays closed."""
    browser = Browser(install(tmp_path / "browser"), run_here, f"container-{engine.name}")
    lab = contained.out("jupyter", "--on", "docker", "--no-browser")
    cell = "import cats, packaging, os; print(cats.__file__, packaging.__version__)"
    browser.drive("notebook", lab, cell, "/project/code/src/cats/__init__.py 24.0")
    listed = json.loads(contained.out("services", "--json"))
    assert [(each["name"], each["target"]) for each in listed] == [("jupyter", "docker")]
    again = contained.perdure("jupyter", "--no-browser")
    assert is_one_error(again, 3, "runs already, on `docker`", "perdure jupyter --stop")
    (name,) = names_of(engine, contained.project)
    facts = engine.docker("inspect", name)
    assert lab.rpartition("=")[2] not in facts
    assert '"Ports": {}' in facts
    contained.out("services", "--stop", "all")
    assert names_of(engine, contained.project) == []
    assert contained.user.of_others(contained.project) == []


def names_of(engine: RealEngine, project: Path) -> list[str]:
    """Return the containers that JupyterLab has for a project."""
    own = ("--filter", f"label=perdure.project={project}", "--filter", "label=perdure.role=jupyter")
    words = ("ps", "--all", "--quiet", *own)
    return engine.docker(*words).split()


class Far:
    """A project of the template on a laptop, whose jobs and services run on gpu1."""

    def __init__(self, laptop: Laptop) -> None:
        self.laptop = laptop
        self.root = laptop.hosts.place("gpu1") / laptop.folder.name
        self.project = laptop.folder / "cats"
        laptop.hosts.run("gpu1", "install", "-d", "-o", "ada", str(self.root))
        target = f'host = "gpu1"\nengine = "process"\nroot = "{self.root}"'
        laptop.configure(f"[targets.gpu1]\n{target}\n")
        assert laptop.perdure("new", "cats", "--yes").code == 0

    def perdure(self, *words: str) -> str:
        done = self.laptop.perdure(*words, cwd=self.project, timeout_s=900)
        assert done.code == 0, done.err
        return done.out.strip()

    def run(self, words: Sequence[str], stdin: str) -> subprocess.CompletedProcess[str]:
        argv = self.laptop.command(*words)
        return subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=DRIVE_S)


@pytest.fixture
def far(laptop: Laptop) -> Iterator[Far]:
    made = Far(laptop)
    yield made
    laptop.perdure("kill", "--all", "--yes", cwd=made.project)
    laptop.perdure("services", "--stop", "all", cwd=made.project)
    laptop.hosts.run("gpu1", "rm", "-rf", str(made.root))


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_browser_on_a_laptop_sees_what_runs_on_another_host(far: Far) -> None:
    """In the project's own environment there, over ssh, and with nothing asked for by hand."""
    folder = install(far.laptop.folder / "browser")
    far.laptop.give(folder)
    browser = Browser(folder, far.run, "laptop")
    far.perdure("run", "-d", "--on", "gpu1", "--name", "live", "train", "--epochs", "5000")
    lab = far.perdure("jupyter", "--on", "gpu1", "--no-browser")
    browser.drive("refused", lab.partition("?")[0])
    browser.drive("notebook", lab, CELL, f"42 {far.root}/")
    board = far.perdure("tensorboard", "--on", "gpu1", "--no-browser")
    assert saw_it_go_on(browser.drive("curve", board, "loss", "by-itself"))
    assert '"RUNNING"' in far.perdure("ps", "--json")
    # What was written there is here, too.
    until(lambda: list((far.project / "notebooks").glob("*.ipynb")), every_s=0.5)
