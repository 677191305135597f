import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.environments.lockfile import (
    PINNED_FILE,
    Head,
    decode,
    encode,
    read_head,
    read_pinned,
    write_pinned,
)
from perdure.errors import EnvironmentFailed, NewerFormatError, StorageError
from perdure.model.image import (
    AptPackage,
    Base,
    CondaPackage,
    ImageLock,
    PythonSource,
    Tier,
)
from perdure.model.project import Project

LOCK = ImageLock(
    wanted="a" * 64,
    uv="b" * 64,
    image="c" * 64,
    tiers={"torch": Tier.HEAVY, "a.b 'c'\"\n\x7f é": Tier.LIGHT, "numpy": Tier.MID},
    platform="linux/arm64",
    base=Base("debian:12", "debian@sha256:0", "d" * 64, "bookworm", None),
    python="3.11.2",
    python_source=PythonSource.APT,
    apt={
        "build": (),
        "runtime": (
            AptPackage("git", "1:2.39.5-0+deb12u2", "git_1%3a2.39.5_arm64.deb", "e" * 64, 12),
            AptPackage("less", "590-2", "less_590-2_arm64.deb", "f" * 64, 13),
        ),
        "dev": (),
    },
    conda=(
        CondaPackage("libpng", "1.6", "h1_0", "https://example.invalid/l.conda", "0" * 64),
        CondaPackage("py", "1", "h", "https://example.invalid/p.conda", "1" * 64, "py-thing"),
    ),
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / "a project $(x) é"
    root.mkdir()
    return Project(root, "cats", "cats", {})


def test_a_lock_is_read_as_it_was_written(project: Project) -> None:
    write_pinned(project, LOCK)
    assert read_pinned(project) == LOCK
    assert read_head(project) == Head(LOCK.wanted, LOCK.image, LOCK.uv)


def test_a_lock_of_a_project_without_images_is_short(project: Project) -> None:
    local = ImageLock(wanted="a", uv="b", tiers={})
    write_pinned(project, local)
    assert read_pinned(project) == local
    assert read_head(project) == Head("a", "", "b")
    assert set(tomllib.loads(encode(local))) == {
        *("format", "wanted", "image", "uv", "platform", "python", "python_source", "tiers"),
    }


def test_the_same_lock_is_the_same_bytes() -> None:
    other = replace(LOCK, tiers=dict(reversed(list(LOCK.tiers.items()))))
    assert encode(LOCK) == encode(other)
    # One line for each package: what git shows is what changed.
    assert sum("sha256 = " in line for line in encode(LOCK).splitlines()) == 4


def test_a_lock_that_has_not_changed_is_not_written(project: Project) -> None:
    write_pinned(project, LOCK)
    before = (project.root / PINNED_FILE).stat().st_mtime_ns
    write_pinned(project, LOCK)
    assert (project.root / PINNED_FILE).stat().st_mtime_ns == before
    assert [each.name for each in project.root.iterdir()] == [PINNED_FILE]


def test_no_lock_is_no_error(project: Project) -> None:
    assert read_pinned(project) is None
    assert read_head(project) is None


@pytest.mark.parametrize(
    "text",
    [
        "<<<<<<< HEAD\n",
        "wanted = 3\n",
        encode(LOCK).replace('"heavy"', '"heaviest"'),
        encode(LOCK).replace("size = 12", "size = 'x'"),
        encode(LOCK)[:300],
    ],
)
def test_a_damaged_lock_says_what_to_do(project: Project, text: str) -> None:
    (project.root / PINNED_FILE).write_text(text)
    with pytest.raises(EnvironmentFailed, match="damaged") as caught:
        read_pinned(project)
    assert "perdure lock --again" in (caught.value.hint or "")


@pytest.mark.parametrize("text", ["", "wanted = 3\n", "wanted = 'a'\n[tiers]\n", "a = \n[x]\n"])
def test_a_damaged_head_is_told(project: Project, text: str) -> None:
    (project.root / PINNED_FILE).write_text(text)
    with pytest.raises(EnvironmentFailed, match="damaged"):
        read_head(project)


def test_the_lock_of_a_newer_perdure_is_not_guessed_at() -> None:
    with pytest.raises(NewerFormatError):
        decode(encode(LOCK).replace("format = 1", "format = 2"), Path(PINNED_FILE))


def test_a_folder_in_its_place_is_told(project: Project) -> None:
    (project.root / PINNED_FILE).mkdir()
    with pytest.raises(StorageError, match="cannot read"):
        read_head(project)


def test_a_lock_that_cannot_be_written_is_told(project: Project) -> None:
    missing = replace(project, root=project.root / "gone")
    with pytest.raises(StorageError, match="gone"):
        write_pinned(missing, LOCK)
