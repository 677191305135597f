"""An image is told to be up to date without being worked out: only where nothing has changed."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import perdure
from perdure.cli.commands import build
from perdure.cli.render import open_console
from perdure.environments.lock import lock_packages
from perdure.environments.pinned import ensure_pinned
from perdure.errors import EngineUnreachable, MissingProgram
from perdure.hosts import engine_socket
from perdure.images import inputs
from perdure.images.build import planned_image
from perdure.images.inputs import described, note_of, recall, remember
from perdure.model.image import Image, ImageUser, Stage
from perdure.model.project import Project
from perdure.model.settings import Docker, Settings
from perdure.project.decode import load_project
from perdure.project.settings import load_settings
from tests.engines.engines import RealEngine
from tests.environments.conftest import wheel
from tests.images.recipes import BASE

#: Any image that the engines of the tests have: what is in it is not looked at.
IMAGE = Image(BASE, "sha256:0", Stage.RUNTIME, "cpu", ImageUser(1000, 1001))

PYPROJECT = """\
[project]
name = "cats"
version = "0"
requires-python = ">=3.11"
dependencies = ["toy"]
optional-dependencies = { cpu = [] }

[tool.uv.sources]
toy = { path = "vendor/toy-1.0-py3-none-any.whl" }

[tool.perdure]
format = 1
package = "cats"

[tool.perdure.environment]
variants = ["cpu"]
default_variant = "cpu"
apt = { runtime = "requirements/apt.txt" }
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a user's settings."""
    folder = tmp_path / "config" / "perdure"
    folder.mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder.parent))
    return folder


@pytest.fixture
def project(tmp_path: Path, config: Path) -> Project:
    """Return a locked project with every kind of file that an image can come from."""
    root = tmp_path / "cats"
    for name, content in {
        "pyproject.toml": PYPROJECT.encode(),
        "requirements/apt.txt": b"# none\n",
        "environment.yml": b"dependencies: []\n",
        "vendor/toy-1.0-py3-none-any.whl": wheel("toy", "1.0", ""),
        ".perdure/local.toml": b"[docker]\nuser_id = 1000\ngroup_id = 1001\n",
        "src/cats/__init__.py": b"",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    found = load_project(root)
    lock_packages(found, Settings())
    return replace(found, environment=replace(found.environment, conda=root / "environment.yml"))


def later_ns() -> int:
    """Return a time to which the files that were just made are old."""
    return time.time_ns() + 10**10


def note(project: Project, image: Image = IMAGE, variant: str | None = None) -> Path:
    """Return the note of that image, written."""
    remember(project, load_settings(project.root), image, variant, later_ns())
    return note_of(project.root, image.stage.value)


def test_the_same_image_is_told_with_the_engines_id(engine: RealEngine, project: Project) -> None:
    note(project)
    found = recall(project.root / "src" / "cats", "runtime", None)
    assert found is not None
    assert found == {**described(IMAGE), "id": found["id"]}
    assert str(found["id"]).startswith("sha256:")
    assert found["id"] != IMAGE.id
    assert recall(project.root, "dev", None) is None
    assert recall(project.root, "runtime", "cpu") is None
    assert recall(project.root.parent, "runtime", None) is None


def test_an_image_that_the_engine_has_not(old_engine: RealEngine, project: Project) -> None:
    note(project, replace(IMAGE, tag="perdure/cats:runtime-cpu-0000000000000000"))
    assert recall(project.root, "runtime", None) is None


def test_no_engine_and_no_client(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    note(project)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(EngineUnreachable, match="no container engine answers"):
        recall(project.root, "runtime", None)
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    assert recall(project.root, "runtime", None) is None
    chosen = Settings(docker=Docker(program="no-such-client"))
    remember(project, chosen, IMAGE, None, later_ns())
    with pytest.raises(MissingProgram, match="no-such-client"):
        recall(project.root, "runtime", None)


def rewritten(name: str) -> Callable[[Path], None]:
    """Return what writes a file anew with as many bytes, and sets its times back."""

    def change(root: Path) -> None:
        before = (root / name).stat()
        (root / name).write_bytes(b"#" * before.st_size)
        os.utime(root / name, ns=(before.st_atime_ns, before.st_mtime_ns))

    return change


def replaced(root: Path) -> None:
    (root / "new").write_bytes((root / "uv.lock").read_bytes())
    shutil.copystat(root / "uv.lock", root / "new")
    (root / "new").replace(root / "uv.lock")


CHANGES: dict[str, Callable[[Path], None]] = {
    **{
        name: rewritten(name)
        for name in (
            *("pyproject.toml", "uv.lock", "perdure.lock", "requirements/apt.txt"),
            *("environment.yml", "vendor/toy-1.0-py3-none-any.whl", ".perdure/local.toml"),
        )
    },
    "a lock in the other's place": replaced,
    "no lock": lambda root: (root / "perdure.lock").unlink(),
    "no settings": lambda root: (root / ".perdure" / "local.toml").unlink(),
    "settings": lambda root: (root.parent / "config/perdure/config.toml").touch(),
    "setup.py": lambda root: (root / "setup.py").touch(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_of_any_file(
    old_engine: RealEngine, project: Project, change: Callable[[Path], None]
) -> None:
    note(project)
    assert recall(project.root, "runtime", None) is not None
    change(project.root)
    assert recall(project.root, "runtime", None) is None


@pytest.mark.parametrize("name", ["HOME", "PYTHONPATH", "XDG_CONFIG_HOME"])
def test_another_variable(
    old_engine: RealEngine, project: Project, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    note(project)
    monkeypatch.setenv(name, "/nowhere")
    assert recall(project.root, "runtime", None) is None


def test_another_user_owner_or_perdure(
    old_engine: RealEngine, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    note(project)
    for target, name, value in (
        (os, "getuid", lambda: 4242),
        (os, "getgid", lambda: 4242),
        (sys, "prefix", "/nowhere"),
        (inputs, "_PACKAGE", Path("/nowhere")),
        (inputs, "FORMAT", 0),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(target, name, value)
            assert recall(project.root, "runtime", None) is None, name
    assert recall(project.root, "runtime", None) is not None
    if os.getuid() == 0:
        os.chown(project.root, 4242, 4242)
        assert recall(project.root, "runtime", None) is None


def test_a_copy_is_another_project(
    old_engine: RealEngine, project: Project, tmp_path: Path
) -> None:
    note(project)
    shutil.copytree(project.root, tmp_path / "copy")
    assert recall(tmp_path / "copy", "runtime", None) is None


def test_perdures_own_sources_count_and_so_does_the_place_of_uv(project: Project) -> None:
    import uv

    files = json.loads(note(project).read_bytes())["files"]
    package = Path(perdure.__file__).parent
    for name in ("__init__.py", "images/layers.py", "images", "runtime", "runtime/run.py"):
        assert str(package / name) in files
    assert str(Path(uv.__file__).parents[1]) in files


def test_without_a_uv_of_its_own_nothing_is_noted(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not note(project).exists()


def test_files_that_may_have_changed_while_they_were_read(project: Project) -> None:
    remember(project, Settings(), IMAGE, None, time.time_ns())
    assert not note_of(project.root, "runtime").exists()


def test_a_lock_that_went_away_while_it_was_read(project: Project) -> None:
    (project.root / "uv.lock").unlink()
    assert not note(project).exists()


def test_a_note_that_cannot_be_written_is_done_without(project: Project) -> None:
    (project.state / "images").write_text("in the way")
    remember(project, Settings(), IMAGE, None, later_ns())
    assert recall(project.root, "runtime", None) is None


@pytest.mark.parametrize(
    "damaged",
    [
        lambda text: b"",
        lambda text: text[: len(text) // 2],
        lambda text: b"\xff\xfe" + text,
        lambda text: b"[" * 100_000,
        lambda text: b"[]",
        lambda text: b"{}",
        *(
            lambda text, key=key, value=value: json.dumps({**json.loads(text), key: value}).encode()
            for key, value in (
                *(("asked", None), ("files", None), ("files", ["a"]), ("files", {"\0": []})),
                *(("program", 1), ("image", None), ("image", {"tag": BASE})),
                ("image", {**described(IMAGE), "tag": 1}),
                ("image", {**described(IMAGE), "pegged": True}),
            )
        ),
    ],
)
def test_a_damaged_note_is_no_note(
    old_engine: RealEngine, project: Project, damaged: Callable[[bytes], bytes]
) -> None:
    file = note(project)
    file.write_bytes(damaged(file.read_bytes()))
    assert recall(project.root, "runtime", None) is None


#: Works out a tag, and prints what was opened to read meanwhile.
WATCHED = """\
import json, os, sys
from dataclasses import replace
from pathlib import Path

opened = []

def hook(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        if not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            opened.append(os.path.realpath(os.fsdecode(arguments[0])))

sys.addaudithook(hook)
from perdure.environments.pinned import read_pinned
from perdure.environments.lock import check_lock
from perdure.images.recipe import make_recipe
from perdure.images.tag import tag_of
from perdure.images.user import choose_user
from perdure.jobs.workspace import open_workspace
from perdure.model.image import Base, Stage

found = open_workspace(Path.cwd())
check_lock(found.project)
lock = replace(read_pinned(found.project), base=Base("a", "a", "0", "bookworm", "3.11.2"))
user = choose_user(found.project, found.settings)
recipe = make_recipe(found.project, found.settings, lock, "cpu", user)
tag_of(recipe, Stage.RUNTIME), tag_of(recipe, Stage.DEV)
print(json.dumps(opened))
"""


def test_every_file_that_is_read_is_noted(project: Project, config: Path) -> None:
    (config / "config.toml").write_text('editor = "vi"\n')
    files = {os.path.realpath(file) for file in json.loads(note(project).read_bytes())["files"]}
    run = subprocess.run(
        [sys.executable, "-c", WATCHED], cwd=project.root, check=True, capture_output=True
    )
    opened = set(json.loads(run.stdout))
    # What is kept there is made of the others.
    kept = os.path.realpath(project.state / "exports")
    places = (os.path.realpath(project.root), os.path.realpath(config))
    mine = {file for file in opened if file.startswith(places) and not file.startswith(kept)}
    assert os.path.realpath(project.root / "requirements" / "apt.txt") in mine
    assert mine - files == set()
    sources = os.path.realpath(Path(perdure.__file__).parent)
    own = {file for file in opened if file.startswith(sources) and file.endswith(".py")}
    assert own
    assert own - files == set()


#: The verb, and then what it has imported for it.
VERB = """\
import sys
from perdure.cli.main import main
code = main(["build", "--json"])
heavy = {"dataclasses", "msgspec", "perdure.images.recipe", "subprocess"} & set(sys.modules)
print(*sorted(heavy), file=sys.stderr)
raise SystemExit(code)
"""


def test_the_verb_needs_next_to_nothing(engine: RealEngine, project: Project) -> None:
    note(project)
    # Not measured: coverage imports some of these itself.
    around = {name: text for name, text in os.environ.items() if not name.startswith("COVERAGE")}
    argv = [sys.executable, "-c", VERB]
    run = subprocess.run(argv, cwd=project.root, env=around, capture_output=True)
    assert (run.returncode, run.stderr.strip()) == (0, b"")
    document = json.loads(run.stdout)
    assert document == {**described(IMAGE), "id": document["id"], "pushed": None}


@pytest.fixture
def tag(engine: RealEngine, project: Project) -> Iterator[str]:
    """Return the tag of the project's image, which the engine has as if it were built."""
    settings = load_settings(project.root)
    declared = load_project(project.root)
    ensure_pinned(declared, settings)
    found, *_ = planned_image(declared, settings, Stage.RUNTIME)
    engine.docker("tag", BASE, found)
    yield found
    engine.docker("rmi", found)


def test_a_build_notes_what_the_next_one_recalls(
    tag: str,
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[str] = []
    ask = engine_socket.ask

    def counted(path: str, question: str, **limits: float) -> object:
        asked.append(question)
        return ask(path, question, **limits)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("it was worked out, or a process was started")

    monkeypatch.chdir(project.root)
    given = {"stage": "runtime", "variant": None, "explain": False, "pegged": False, "push": None}
    given |= {"target": "local"}
    words, console = argparse.Namespace(**given, json=True), open_console(verbose=False)
    assert build.make(words, console, later_ns()) == 0
    first = capsys.readouterr().out
    monkeypatch.setattr(engine_socket, "ask", counted)
    monkeypatch.setattr("perdure.hosts.local.subprocess.Popen", refuse)
    monkeypatch.setattr(build, "make", refuse)
    assert build.execute(words, console) == 0
    # The fixtures start processes again.
    monkeypatch.undo()
    assert (capsys.readouterr().out, json.loads(first)["tag"], len(asked)) == (first, tag, 1)
