"""Images as real engines build them: what is in them, what is not, and how they fail."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.errors import BuildFailed, EngineUnreachable, EnvironmentFailed, StorageError
from perdure.hosts import engine_socket
from perdure.hosts.engine import find_engine
from perdure.images import construction
from perdure.images.build import ensure_image, planned_image
from perdure.images.recipe import tiers_of
from perdure.images.tag import tag_of
from perdure.model.image import Requirement, Stage
from perdure.model.project import Step
from perdure.model.settings import Settings
from perdure.project.decode import load_project
from perdure.project.wheel import build_wheel
from tests.cli.command import is_one_error
from tests.engines.engines import RealEngine
from tests.engines.relay import unix_relay
from tests.engines.user import OrdinaryUser
from tests.images.recipes import GOMP, RECIPE, built, inside, recipe_for, removed

pytestmark = [pytest.mark.install, pytest.mark.timeout(600)]

PYPROJECT = """\
[project]
name = "{name}"
version = "0"
requires-python = "==3.11.*"
dependencies = ["six==1.17.0"]

[dependency-groups]
dev = ["iniconfig"]

[tool.perdure]
format = 1
package = "cats"
"""


@pytest.fixture
def name(engine: RealEngine) -> Iterator[str]:
    """Return a name for a project whose images are removed afterwards."""
    with removed(engine) as found:
        yield found


@pytest.fixture
def folder(as_user: OrdinaryUser, name: str) -> Path:
    """Return the folder of a project that belongs to an ordinary user."""
    folder = as_user.folder / "a 'project'"
    (folder / "src" / "cats").mkdir(parents=True)
    (folder / "src" / "cats" / "__init__.py").write_text("NAME = 'cats'\n")
    (folder / "pyproject.toml").write_text(PYPROJECT.format(name=name))
    (folder / ".gitignore").write_text("results/\ndata/\n")
    return as_user.give(folder)


def test_an_image_is_built_once_then_it_is_one_question(
    engine: RealEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = load_project(folder)
    image = ensure_image(project, Settings(), Stage.RUNTIME)
    assert (image.user.user_id, image.stage, image.pegged) == (1000, Stage.RUNTIME, False)
    asked: list[str] = []
    ask = engine_socket.ask

    def counted(path: str, question: str, **limits: float) -> object:
        asked.append(question)
        return ask(path, question, **limits)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    with monkeypatch.context() as patch:
        patch.setattr(engine_socket, "ask", counted)
        patch.setattr("perdure.hosts.local.subprocess.Popen", refuse)
        again = ensure_image(project, Settings(), Stage.RUNTIME)
    assert again == image
    assert len(asked) == 1
    tag, text, argv = planned_image(project, Settings(), Stage.RUNTIME)
    assert tag == image.tag
    assert text.startswith("#")
    assert argv[:2] == ("docker", "build")


#: What a container looks at in itself.
LOOK = (
    "id -u; id -g; id -un; pwd; readlink /code; cat /opt/step; echo $VIRTUAL_ENV; "
    "for each in code data notebooks results; do touch /project/$each/x && echo w; done; "
    "touch /opt/venv/x 2>&1; python -c 'import six, markupsafe, sys; print(sys.prefix)'; "
    "ls /opt/venv/lib/python*/site-packages/__pycache__/six.*; "
    "python -I -S /opt/perdure/perdure/runtime/supervisor/__main__.py 2>&1 | tail -1; "
    "ls -A /run/perdure /run/secrets 2>&1; touch ~/x && echo home"
)


def test_what_is_in_the_runtime(engine: RealEngine, name: str, tmp_path: Path) -> None:
    wanted, facts = built(
        recipe_for(project=name, steps=(Step('echo "it\'s" > /opt/step'),)),
        Stage.RUNTIME,
        tmp_path / "c",
    )
    assert facts.labels == {"perdure.stage": "runtime", "perdure.variant": "cpu"}
    lines = inside(engine, wanted.tag, "bash", "-c", LOOK).splitlines()
    assert lines[:7] == [
        "1000",
        "1001",
        "perdure",
        "/project/code",
        "/project/code",
        "it's",
        "/opt/venv",
    ]
    assert lines[7:11] == ["w"] * 4
    assert "Permission denied" in lines[11]
    assert lines[12] == "/opt/venv"
    assert lines[13].endswith(".pyc")
    assert lines[14].startswith("usage: ")
    assert [line.endswith("No such file or directory") for line in lines[15:17]] == [True, True]
    assert lines[17] == "home"


def test_what_the_dev_stage_adds(engine: RealEngine, name: str, tmp_path: Path) -> None:
    wanted, _ = built(recipe_for(project=name), Stage.DEV, tmp_path / "c")
    look = (
        "mkdir -p src/cats; echo 'NAME = 1' > src/cats/__init__.py; cd /; which python pip uv; "
        "python -c 'import cats, six, iniconfig; print(cats.__file__, six.__file__)'; "
        "touch /opt/dev/bin/x && echo own; id -u; pip --version; uv --version"
    )
    lines = inside(engine, wanted.tag, "bash", "-c", look).splitlines()
    assert lines[:3] == [f"/opt/dev/bin/{each}" for each in ("python", "pip", "uv")]
    assert lines[3].startswith("/project/code/src/cats/__init__.py /opt/venv/lib/")
    assert lines[4:6] == ["own", "1000"]
    assert lines[6].startswith("pip 26.3 ")


def test_a_pegged_image_has_the_code_and_the_containers_own_data(
    engine: RealEngine, folder: Path, as_user: OrdinaryUser, name: str
) -> None:
    words = ("build", "--pegged")
    first = as_user.perdure(*words, cwd=folder, env=as_user.leading_to(engine))
    assert first.code == 0, first.err
    (tag,) = first.out.split()
    look = "cat src/cats/__init__.py; readlink data results; stat -c %u src/cats; ls -A"
    lines = inside(engine, tag, "bash", "-c", look).splitlines()
    assert lines[:4] == ["NAME = 'cats'", "/project/data", "/project/results", "1000"]
    assert ".perdure" not in lines
    (folder / "src" / "cats" / "__init__.py").write_text("NAME = 'dogs'\n")
    second = as_user.perdure(*words, cwd=folder, env=as_user.leading_to(engine))
    assert (second.code, second.out != first.out) == (0, True)
    assert "dogs" in inside(engine, second.out.strip(), "cat", "src/cats/__init__.py")
    assert as_user.of_others(folder) == []


def test_the_verb_explains_builds_and_tells(
    engine: RealEngine, folder: Path, as_user: OrdinaryUser
) -> None:
    env = as_user.leading_to(engine)
    nothing = as_user.perdure("build", "--explain", cwd=folder, env=env)
    assert is_one_error(nothing, 4, "perdure lock")
    ended = as_user.perdure("build", "--json", cwd=folder, env=env)
    assert ended.code == 0, ended.err
    document = json.loads(ended.out)
    assert f"building `{document['tag']}`" in ended.err
    told = as_user.perdure("build", "--explain", cwd=folder, env=env)
    assert told.code == 0, told.err
    assert "FROM debian:bookworm-slim AS base" in told.out
    assert document["tag"] in told.out.splitlines()[-1]
    assert (document["user_id"], document["pegged"], document["pushed"]) == (1000, False, None)
    refused = as_user.perdure("build", "--push", "127.0.0.1:9", cwd=folder, env=env)
    assert is_one_error(refused, 4, "registry `127.0.0.1:9`")
    assert as_user.of_others(folder) == []


def source_archive(folder: Path, value: str = "7") -> Path:
    """Return a source distribution of `tiny`, which has no wheel, and one value."""
    source = folder / "tiny-1.0"
    source.mkdir(parents=True)
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["flit_core>=3"]\nbuild-backend = "flit_core.buildapi"\n'
        '[project]\nname = "tiny"\nversion = "1.0"\ndescription = "t"\n'
    )
    (source / "tiny.py").write_text(f"N = {value}\n")
    (source / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    archive = folder / "tiny-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(source, "tiny-1.0")
    return archive


def test_a_wheel_of_this_machine_and_one_that_has_to_be_built(
    engine: RealEngine, name: str, tmp_path: Path
) -> None:
    archive = source_archive(tmp_path / "source")
    wheel = build_wheel()
    (tmp_path / wheel.name).write_bytes(wheel.content)
    tiers = tiers_of(
        [
            Requirement("tiny", "1.0", (), file=archive, has_wheel=False),
            Requirement("perdure", "0", (), file=tmp_path / wheel.name),
        ],
        {},
    )
    wanted, _ = built(recipe_for(project=name, tiers=tiers), Stage.RUNTIME, tmp_path / "c")
    code = "import tiny, importlib.metadata as m; print(tiny.N, m.version('perdure') != '')"
    assert inside(engine, wanted.tag, "python", "-c", code) == "7 True"


@pytest.mark.parametrize(
    ("step", "kind", "words"),
    [
        (
            "echo before; echo \"my 'last' word\" >&2; exit 9",
            BuildFailed,
            ["my 'last' word", "step 2"],
        ),
        ("head -c 9 /dev/zero > /dev/full", StorageError, ["no space left"]),
    ],
)
def test_a_step_that_fails(
    engine: RealEngine,
    name: str,
    tmp_path: Path,
    step: str,
    kind: type[Exception],
    words: list[str],
) -> None:
    recipe = recipe_for(project=name, tiers={}, steps=(Step("true"), Step(step)))
    with pytest.raises(kind) as caught:
        built(recipe, Stage.RUNTIME, tmp_path / "c")
    assert all(word in str(caught.value) for word in words), caught.value
    assert engine.docker("images", "-q", f"perdure/{name}") == ""


def test_a_package_that_is_not_what_was_locked(
    engine: RealEngine, name: str, tmp_path: Path
) -> None:
    wrong = replace(RECIPE.packages()[0], hashes=("sha256:" + "0" * 64,))
    recipe = recipe_for(project=name, tiers={list(RECIPE.tiers)[1]: (wrong,)})
    with pytest.raises(BuildFailed, match="installing the mid packages") as caught:
        built(recipe, Stage.RUNTIME, tmp_path / "c")
    assert "`dependencies` and the extra `cpu` in pyproject.toml" in caught.value.message


def test_a_debian_package_that_is_gone_from_the_mirror(
    engine: RealEngine, name: str, tmp_path: Path
) -> None:
    gone = replace(GOMP, version="1.0-gone", file="libgomp1_1.0-gone_amd64.deb")
    recipe = recipe_for(project=name, tiers={}, apt={"runtime": (gone,)})
    with pytest.raises(BuildFailed, match=r"lacks what perdure\.lock names") as caught:
        built(recipe, Stage.RUNTIME, tmp_path / "c")
    assert caught.value.hint == "perdure lock --again"
    assert "1.0-gone" in caught.value.message
    assert "requirements/apt-runtime.txt" in caught.value.message


def test_a_base_that_cannot_be_had_and_one_that_is_another(
    engine: RealEngine, name: str, tmp_path: Path
) -> None:
    base = recipe_for().base
    # Of other contents, too: those of the base may be there under a name of perdure's own.
    place = "127.0.0.1:9/nothing:1"
    nowhere = replace(base, name=place, reference=place, layers="11" * 32)
    with pytest.raises(EnvironmentFailed, match=r"`127\.0\.0\.1:9/nothing:1` cannot be had"):
        built(replace(recipe_for(project=name), base=nowhere), Stage.RUNTIME, tmp_path / "c")
    other = replace(base, layers="00" * 32)
    with pytest.raises(EnvironmentFailed, match=r"is not the image that perdure\.lock") as caught:
        built(replace(recipe_for(project=name), base=other), Stage.RUNTIME, tmp_path / "c")
    assert "perdure lock --again" in str(caught.value.hint)


def test_a_base_known_by_its_name_only(engine: RealEngine, name: str, tmp_path: Path) -> None:
    base = replace(recipe_for().base, reference="debian@sha256:" + "0" * 64)
    recipe = replace(recipe_for(project=name, tiers={}), base=base)
    _, facts = built(recipe, Stage.RUNTIME, tmp_path / "c")
    assert facts.id


def test_the_time_limit(
    engine: RealEngine, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perdure.errors import TimeoutExpired

    monkeypatch.setattr(construction, "BUILD_S", 6.0)
    recipe = recipe_for(project=name, tiers={}, steps=(Step("echo begun; sleep 60"),))
    with pytest.raises(TimeoutExpired, match="running the declared step 1") as caught:
        built(recipe, Stage.RUNTIME, tmp_path / "c")
    assert "perdure build" in str(caught.value.hint)
    assert engine.docker("images", "-q", f"perdure/{name}") == ""


def test_a_tag_given_before_the_build_failed_is_taken_away(
    engine: RealEngine, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the disk is full while an image that has its name already is unpacked."""
    recipe = recipe_for(project=name, tiers={}, steps=(Step("exit 1"),))
    tag = tag_of(recipe, Stage.RUNTIME)
    engine.docker("tag", recipe.base.name, tag)
    with pytest.raises(BuildFailed):
        built(recipe, Stage.RUNTIME, tmp_path / "c")
    assert find_engine(Settings()).inspect_image(tag) is None


def test_an_engine_that_dies_in_mid_build(
    engine: RealEngine, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "relay.sock"
    recipe = recipe_for(project=name, tiers={}, steps=(Step("echo begun; sleep 20"),))
    relay = unix_relay(path, engine.variables["DOCKER_HOST"].removeprefix("unix://"))

    def report(message: str, **_: object) -> None:
        if "declared step" in message:
            relay.cut()

    with monkeypatch.context() as patch:
        patch.setenv("DOCKER_HOST", f"unix://{path}")
        with pytest.raises(EngineUnreachable, match="engine") as caught:
            built(recipe, Stage.RUNTIME, tmp_path / "c", report=report)
    assert str(path) in caught.value.message
    assert engine.docker("images", "-q", f"perdure/{name}") == ""


@pytest.mark.long
def test_two_builds_of_one_lock_have_one_digest(modern_engine: RealEngine, tmp_path: Path) -> None:
    with removed(modern_engine) as name:
        recipe = recipe_for(
            project=name, steps=(Step("date +%s > /tmp/x; rm /tmp/x; date -u +%Y > /opt/y"),)
        )
        _, first = built(recipe, Stage.DEV, tmp_path / "a", fresh=True)
        _, second = built(recipe, Stage.DEV, tmp_path / "b c", fresh=True)
        assert first.layers == second.layers
        assert first.id == second.id


def test_without_an_engine_the_verb_names_what_works(as_user: OrdinaryUser) -> None:
    folder = as_user.folder / "p"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PYPROJECT.format(name="x"))
    as_user.give(folder)
    nothing = {"DOCKER_HOST": "unix:///run/no-such-engine.sock"}
    ended = as_user.perdure("build", cwd=folder, env=nothing)
    assert is_one_error(ended, 4, "no container engine answers", "--on local")
    assert as_user.of_others(folder) == []


def test_root_alone_is_nobody_to_build_for(old_engine: RealEngine, tmp_path: Path) -> None:
    if os.getuid() != 0:
        return
    from tests.cli.command import perdure

    (tmp_path / "pyproject.toml").write_text(PYPROJECT.format(name="x"))
    ended = perdure("build", cwd=tmp_path)
    assert is_one_error(ended, 2, "containers do not run as root")
