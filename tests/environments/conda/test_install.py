import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.environments.conda.install import IMAGE_PREFIX, install_conda, stage_conda
from perdure.environments.conda.rattling import cache_folder
from perdure.errors import EnvironmentFailed
from perdure.model.image import CondaPackage
from tests.environments.conda.channel import MINOR, PLACEHOLDER, Channel

Locked = tuple[CondaPackage, ...]


def digest(folder: Path) -> dict[str, object]:
    return {
        path.relative_to(folder).as_posix(): str(path.readlink())
        if path.is_symlink()
        else (path.read_bytes(), path.stat().st_mode)
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def test_a_prefix_works_where_it_is(locked: Locked, tmp_path: Path) -> None:
    prefix = tmp_path / "with a space" / "environments" / "one"
    install_conda(locked, prefix)
    program = "import greet; print(greet.greet(), greet.share())"
    said = subprocess.check_output([prefix / "bin" / "python", "-c", program], text=True)
    assert said == f"hello {prefix}/share/greet\n"
    assert subprocess.check_output([prefix / "bin" / "greet"], text=True) == "hello\n"
    configured = subprocess.check_output([prefix / "bin" / "greet-config"], text=True)
    assert configured == f"{prefix}\n"


def test_a_stage_is_made_for_where_an_image_has_it(locked: Locked, tmp_path: Path) -> None:
    folder = tmp_path / "context" / "conda"
    stage_conda(locked, folder)
    library = (folder / "lib" / "libgreet.so").read_bytes()
    assert f"{IMAGE_PREFIX}/share/greet".encode() in library
    assert f"{IMAGE_PREFIX}/lib\0".encode() in library
    assert PLACEHOLDER.encode() not in library
    script = (folder / "bin" / "greet-config").read_text()
    assert script.startswith(f"#!{IMAGE_PREFIX}/bin/python\n")
    assert os.access(folder / "bin" / "greet-config", os.X_OK)
    assert (folder / "bin" / "python").readlink() == Path(f"python{MINOR}")
    assert folder.stat().st_mode & 0o777 == 0o755
    assert [each.name for each in folder.parent.iterdir()] == ["conda"]


def test_a_stage_holds_nothing_of_the_machine_that_made_it(
    locked: Locked, tmp_path: Path, cache: Path, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    stage_conda(locked, one)
    monkeypatch.setenv("RATTLER_CACHE_DIR", str(tmp_path / "other cache"))
    stage_conda(locked, two)
    assert digest(one) == digest(two)
    places = [str(each).encode() for each in (tmp_path, cache, channel.folder)]
    for path in one.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert not [place for place in places if place in content], path
    assert not (one / "ran").exists()
    record = json.loads((one / "conda-meta" / "greet-0.3-pyh1_0.json").read_text())
    assert record["url"] == "file:///conda/noarch/greet-0.3-pyh1_0.tar.bz2"


def test_a_stage_takes_the_place_of_another(locked: Locked, tmp_path: Path) -> None:
    folder = tmp_path / "conda"
    (folder / "old").mkdir(parents=True)
    stage_conda([each for each in locked if each.name == "libgreet"], folder)
    assert not (folder / "old").exists()
    assert (folder / "lib" / "libgreet.so").exists()


@pytest.mark.parametrize("place", ["file", "http"])
def test_a_file_that_is_not_what_was_locked_is_refused(
    locked: Locked, tmp_path: Path, served: str, channel: Channel, place: str
) -> None:
    library = locked[1]
    if place == "http":
        url = library.url.replace(channel.folder.as_uri(), served)
        library = replace(library, url=url)
    folder = tmp_path / "conda"
    # The right one is in the cache by now, and must not be taken for the wrong one.
    stage_conda([library], folder)
    before = digest(folder)
    with pytest.raises(
        EnvironmentFailed, match=r"libgreet-1\.2\.0-h1_0\.tar\.bz2` is not the file"
    ):
        stage_conda([replace(library, sha256="f" * 64)], folder)
    assert digest(folder) == before


@pytest.mark.parametrize("place", ["file", "http"])
def test_a_file_that_is_gone_is_told(
    locked: Locked, tmp_path: Path, served: str, channel: Channel, place: str
) -> None:
    url = locked[1].url.replace("1.2.0", "1.1.0")
    url = url.replace(channel.folder.as_uri(), served) if place == "http" else url
    gone = replace(locked[1], url=url, version="1.1.0", sha256="0" * 64)
    with pytest.raises(EnvironmentFailed, match=r"(?s)could not be had.*libgreet-1\.1\.0"):
        install_conda([gone], tmp_path / "a" / "b")


def test_packages_of_another_platform_are_staged_only(locked: Locked, tmp_path: Path) -> None:
    other = [replace(each, url=each.url.replace("linux-64", "linux-ppc64le")) for each in locked]
    with pytest.raises(EnvironmentFailed, match="locked for `linux-ppc64le`") as caught:
        install_conda(other, tmp_path / "a" / "b")
    assert "--on docker" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "name", ["a project's", 'a "project"', "a\\project", "a $(project)", "a `project`"]
)
def test_a_folder_that_would_break_files_is_refused(
    locked: Locked, tmp_path: Path, name: str
) -> None:
    with pytest.raises(EnvironmentFailed, match="there is a quote"):
        install_conda(locked, tmp_path / name)


def test_the_cache_is_rattlers_own_where_it_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fallback = tmp_path / "fallback"
    own = cache_folder(fallback, {"HOME": str(tmp_path)})
    assert own == tmp_path / ".cache" / "rattler" / "cache"
    assert cache_folder(fallback, {"RATTLER_CACHE_DIR": "/c"}) == Path("/c")
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert cache_folder(fallback, {"HOME": str(tmp_path)}) == fallback
