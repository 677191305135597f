"""What an ejection writes: the same bytes each time, and paths of every kind as they are."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from perdure.errors import ConflictError, EnvironmentFailed, UsageError
from perdure.images.dockerfile import render
from perdure.images.eject import COMPOSE, DEVCONTAINER, FOLDER, KINDS, eject, with_uv_from_index
from perdure.images.eject_compose import Composition, Service, compose, project_name
from perdure.images.eject_files import LIST, write
from perdure.images.mounts import Mount
from perdure.images.recipe import Recipe
from perdure.images.shell import UV
from perdure.images.tag import tag_of
from perdure.model.image import (
    Base,
    CondaPackage,
    ImageUser,
    PythonSource,
    Requirement,
    Stage,
    Tier,
)
from perdure.model.project import Project, Task
from tests.engines.engines import RealEngine
from tests.engines.small import small_image

SIX = Requirement("six", "1.17.0", ("sha256:" + "a" * 64,))
RECIPE = Recipe(
    project="cats",
    package="cats",
    variant=None,
    user=ImageUser(1000, 1000),
    platform="linux/amd64",
    base=Base("debian:bookworm-slim", "debian:bookworm-slim", "0" * 64, "bookworm", "3.11.2"),
    python="3.11.2",
    python_source=PythonSource.BASE,
    tiers=MappingProxyType({Tier.MID: (SIX,)}),
    uv="0.9.0",
)
#: What a YAML file, a compose file and a shell would each read as something else.
HOSTILE = "a: \"b\" 'c' ${HOME} $(x) # `y` \\ ä\t,{[%&*!|>?-"


def project_in(root: Path) -> Project:
    for name in ("data", "results", "notebooks"):
        (root / name).mkdir(parents=True)
    (root / "pyproject.toml").write_text('[project]\nname = "cats"\nversion = "0"\n')
    train = Task("train", ("python", "-c", "print('$HOME')"))
    return Project(root, "cats", "cats", {"train": train})


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return project_in(tmp_path / HOSTILE)


def read_back(text: str, folder: Path, engine: RealEngine) -> Mapping[str, object]:
    """Return what compose itself reads in the file, every profile included."""
    file = folder / "compose.yaml"
    file.write_text(text)
    done = subprocess.run(
        [engine.client, "compose", "-f", str(file), "--profile=*", "config", "--format=json"],
        env=engine.environ,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr.decode()
    # What it prints is a compose file again, with every `$` doubled.
    found = json.loads(done.stdout.replace(b"$$", b"$"))
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bytes_each_time(project: Project, tmp_path: Path, kind: str) -> None:
    written = []
    for name in ("one", "two"):
        output = tmp_path / name
        found = eject(project, RECIPE, kind, output)
        write(found.files, output, force=False)
        written.append(
            {
                path.relative_to(output): path.read_bytes()
                for path in output.rglob("*.*")
                if path.is_file()
            }
        )
    assert written[0] == written[1]


def test_a_dockerfile_brings_its_own_uv_and_is_perdures_own_beside_that() -> None:
    own = render(RECIPE, Stage.DEV)
    text = with_uv_from_index(own, RECIPE)
    assert "uv/uv" not in text
    assert text.count("from=uv,source=/opt/uv/bin/uv") == own.count(UV)
    added = [line for line in text.splitlines() if line not in own.splitlines()]
    assert "FROM debian:bookworm-slim AS uv" in added
    assert any(line.endswith("--no-deps uv==0.9.0") for line in added)
    # The comments come first, so that what it is can be read first.
    assert text.startswith(own[: own.index("FROM")])


def test_nothing_of_this_machine_is_in_it(project: Project) -> None:
    found = eject(project, RECIPE, "compose", project.root)
    for path, item in found.files.items():
        assert isinstance(item, str), path
        assert str(project.root) not in item, path
        assert "/usr/bin/uv" not in item
    assert f"{FOLDER}/uv/uv" not in found.files


def test_a_wheel_of_the_project_is_brought_and_one_of_the_machine_is_not(
    project: Project, tmp_path: Path
) -> None:
    mine = project.root / "vendor" / "mine-1.0-py3-none-any.whl"
    theirs = tmp_path / "wheels" / "theirs-1.0-py3-none-any.whl"
    for file in (mine, theirs):
        file.parent.mkdir()
        file.write_bytes(b"wheel")
    hashes = ("sha256:" + "b" * 64,)
    packages = (
        Requirement("mine", "1.0", hashes, file=mine),
        Requirement("theirs", "1.0", hashes, file=theirs),
    )
    (project.root / "pyproject.toml").write_text(
        '[project]\nname = "cats"\nversion = "0"\n[tool.uv.sources]\n'
        'theirs = [{ index = "shop", extra = "cpu" }]\n'
        '[[tool.uv.index]]\nname = "shop"\nurl = "http://127.0.0.1:9/simple"\n'
    )
    recipe = replace(RECIPE, tiers=MappingProxyType({Tier.LIGHT: packages}))
    found = eject(project, recipe, "dockerfile", project.root)
    assert found.files[f"{FOLDER}/wheels/light/{mine.name}"] == mine
    assert not any(theirs.name in path for path in found.files)
    assert [(each.package, each.index) for each in found.sources] == [
        ("theirs", "http://127.0.0.1:9/simple")
    ]
    texts = [item for item in found.files.values() if isinstance(item, str)]
    assert any("theirs==1.0" in text for text in texts)
    assert not any(str(theirs.parent) in text for text in texts)


def test_conda_packages_cannot_be_ejected(project: Project) -> None:
    recipe = replace(RECIPE, conda=(CondaPackage("zlib", "1", "0", "u", "s"),))
    with pytest.raises(EnvironmentFailed, match="conda packages"):
        eject(project, recipe, "compose", project.root)


def test_compose_reads_what_was_meant(project: Project, modern_engine: RealEngine) -> None:
    text = eject(project, RECIPE, "compose", project.root).files[COMPOSE]
    assert isinstance(text, str)
    assert tag_of(RECIPE, Stage.DEV) in text
    found = read_back(text, project.root, modern_engine)
    services = found["services"]
    assert isinstance(services, dict)
    dev, train = services["dev"], services["train"]
    seen = {
        each["target"]: (each["source"], each.get("read_only", False)) for each in dev["volumes"]
    }
    assert seen["/project/code"] == (str(project.root), False)
    assert seen["/project/data"] == (str(project.data), False)
    assert seen["/project/notebooks"] == (f"{project.root}/notebooks", False)
    assert dev["user"] == "1000:1000"
    assert dev["init"] is True
    assert dev["pull_policy"] == train["pull_policy"] == "never"
    assert train["command"] == ["python", "-c", "print('$HOME')"]
    job = {each["target"]: each.get("read_only", False) for each in train["volumes"]}
    assert job["/project/code"] is True
    assert job["/project/data"] is True
    assert job["/project/results"] is False


def test_a_symlinked_data_folder_is_seen_under_its_real_path(
    tmp_path: Path, modern_engine: RealEngine
) -> None:
    project = project_in(tmp_path / "cats")
    big = tmp_path / HOSTILE
    big.mkdir()
    project.data.rmdir()
    project.data.symlink_to(big)
    text = eject(project, RECIPE, "compose", project.root).files[COMPOSE]
    found = read_back(str(text), project.root, modern_engine)
    services = found["services"]
    assert isinstance(services, dict)
    seen = {each["target"]: each["source"] for each in services["dev"]["volumes"]}
    assert seen["/project/data"] == str(big)
    assert seen[str(big)] == str(big)


@pytest.mark.parametrize("letters", ["\x7f\x85\u2028\ufeff", "\x01\n\r", "😀", "~", "yes", "0x1"])
def test_no_letter_is_read_as_anything_else(
    tmp_path: Path, modern_engine: RealEngine, letters: str
) -> None:
    service = Service(
        "dev", Stage.DEV, "x:y", (Mount("/a", "/b", True),), (letters,), {"A": letters}
    )
    composition = Composition("cats", ImageUser(1, 1), (service,))
    found = read_back(compose(composition), tmp_path, modern_engine)["services"]
    assert isinstance(found, dict)
    assert found["dev"]["command"] == [letters]
    assert found["dev"]["environment"]["A"] == letters


@pytest.mark.parametrize(
    ("name", "written"), [("cats", "cats"), ("My.Cats", "my-cats"), ("-_é", "project"), ("9", "9")]
)
def test_a_name_that_compose_allows(name: str, written: str) -> None:
    assert project_name(name) == written


def test_a_devcontainer_is_the_same_container_wherever_it_is_opened(project: Project) -> None:
    found = eject(project, replace(RECIPE, variant="cuda"), "devcontainer", project.root)
    text = found.files[DEVCONTAINER]
    assert isinstance(text, str)
    document = json.loads(text)
    assert document["workspaceMount"].startswith("type=bind,source=${localWorkspaceFolder},")
    targets = {
        dict(field.split("=", 1) for field in next(csv.reader([mount])))["target"]
        for mount in document["mounts"]
    }
    assert targets == {"/project/data", "/project/notebooks", "/project/results"}
    assert document["build"]["context"] == "../docker"
    assert str(project.root) not in text


def test_an_edited_file_is_not_overwritten(project: Project) -> None:
    files = eject(project, RECIPE, "compose", project.root).files
    written = write(files, project.root, force=False)
    assert COMPOSE in written
    assert write(files, project.root, force=False) == ()
    edited = project.root / COMPOSE
    edited.write_text("mine\n")
    changed = {**files, f"{FOLDER}/Dockerfile": "another\n"}
    with pytest.raises(ConflictError, match="edited since"):
        write(changed, project.root, force=False)
    assert edited.read_text() == "mine\n"
    # Nothing is written where anything is refused.
    assert (project.root / FOLDER / "Dockerfile").read_text() != "another\n"
    assert set(write(changed, project.root, force=True)) == {COMPOSE, f"{FOLDER}/Dockerfile"}


def test_a_file_that_was_there_before_is_not_overwritten(project: Project) -> None:
    (project.root / COMPOSE).write_text("services: {}\n")
    files = eject(project, RECIPE, "compose", project.root).files
    with pytest.raises(ConflictError, match="not written by perdure"):
        write(files, project.root, force=False)


def test_what_is_wanted_no_more_is_removed_unless_it_was_edited(tmp_path: Path) -> None:
    files = {f"{FOLDER}/a.txt": "a\n", f"{FOLDER}/b.txt": "b\n", COMPOSE: "c\n"}
    write(files, tmp_path, force=False)
    fewer = {f"{FOLDER}/a.txt": "a\n"}
    (tmp_path / FOLDER / "b.txt").write_text("mine\n")
    with pytest.raises(ConflictError, match=r"b\.txt"):
        write(fewer, tmp_path, force=False)
    (tmp_path / FOLDER / "b.txt").write_text("b\n")
    assert write(fewer, tmp_path, force=False) == (f"{FOLDER}/b.txt",)
    assert not (tmp_path / FOLDER / "b.txt").exists()
    # The file of another kind of ejection stays, and stays known.
    assert (tmp_path / COMPOSE).read_text() == "c\n"
    check = ["sha256sum", "--check", "--quiet", LIST]
    assert subprocess.run(check, cwd=tmp_path, timeout=120).returncode == 0


def test_the_list_leads_nowhere_else(tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("mine\n")
    output = tmp_path / "project"
    (output / FOLDER).mkdir(parents=True)
    lines = [f"{'0' * 64}  {path}\n" for path in (f"{FOLDER}/../../outside.txt", str(outside))]
    (output / LIST).write_text("".join(lines))
    write({COMPOSE: "c\n"}, output, force=True)
    assert outside.read_text() == "mine\n"


def test_a_path_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not UTF-8"):
        write({COMPOSE: "source: \udcff\n"}, tmp_path, force=False)


def test_compose_brings_up_what_it_says(
    modern_engine: RealEngine, project: Project, tmp_path: Path
) -> None:
    """The engine makes of the file what perdure makes of the same mounts; hostile paths too."""
    big = tmp_path / f"{HOSTILE} 2"
    big.mkdir()
    (big / "set.csv").write_text("1\n")
    (project.data / "set.csv").symlink_to(big / "set.csv")
    text = eject(project, RECIPE, "compose", project.root).files[COMPOSE]
    image = small_image(modern_engine)
    text = re.sub(r'image: ".*"', f'image: "{image.reference}"', str(text))
    (project.root / COMPOSE).write_text(text)
    (project.root / FOLDER).mkdir()
    words = ("compose", "-f", str(project.root / COMPOSE), "-p", f"perdure-{os.getpid()}")
    subprocess.run(["chown", "-R", f"{image.user_id}", str(project.root)], check=True)
    try:
        modern_engine.docker(*words, "up", "--detach", "--no-build")
        program = "import os; print(os.getuid(), os.getcwd(), open('/project/data/set.csv').read())"
        said = modern_engine.docker(*words, "exec", "-T", "dev", "python", "-c", program)
        assert said.split() == [str(image.user_id), "/project/code", "1"]
        modern_engine.docker(*words, "exec", "-T", "dev", "touch", "results/made")
        shm = modern_engine.docker(*words, "exec", "-T", "dev", "df", "-k", "/dev/shm")
        assert " 8388608 " in shm
    finally:
        modern_engine.docker(*words, "down", "--timeout=0")
    assert (project.results / "made").stat().st_uid == image.user_id
