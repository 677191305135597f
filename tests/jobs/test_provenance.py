from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path

import pytest

from perdure import __version__
from perdure.jobs.provenance import python_version, read_data, read_environment, versions


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("digits/train/a.png", "digits/test/b $(x)\n.png", "words.txt"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "data"


def test_a_fingerprint_counts_files_and_bytes(data: Path) -> None:
    found = read_data(data)
    assert found.files == 3
    assert found.bytes == len("digits/train/a.png" + "digits/test/b $(x)\n.png" + "words.txt")
    assert set(found.entries) == {"digits", "words.txt"}
    assert read_data(data) == found


def test_it_changes_with_names_sizes_and_times_in_its_own_entry_only(data: Path) -> None:
    digests = {read_data(data).digest}
    words = read_data(data).entries["words.txt"]
    path = data / "digits" / "train" / "a.png"
    path.write_text("longer than before, by far")
    digests.add(read_data(data).digest)
    os.utime(path, ns=(1, 1))
    digests.add(read_data(data).digest)
    path.rename(path.with_name("c.png"))
    digests.add(read_data(data).digest)
    assert len(digests) == 4
    assert read_data(data).entries["words.txt"] == words


def test_links_are_not_followed_out_or_round(data: Path, tmp_path: Path) -> None:
    before = read_data(data)
    (data / "loop").symlink_to(data)
    (data / "out").symlink_to(tmp_path)
    (data / "broken").symlink_to("nowhere")
    found = read_data(data)
    assert found.files == before.files + 3
    assert found.bytes == before.bytes
    (data / "broken").unlink()
    (data / "broken").symlink_to("elsewhere")
    assert read_data(data).entries["broken"] != found.entries["broken"]


def test_a_folder_that_is_itself_a_link_is_looked_into(data: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(data)
    assert read_data(tmp_path / "link") == read_data(data)


def test_too_many_files_are_a_partial_fingerprint(data: Path) -> None:
    found = read_data(data, most_files=2)
    assert found.digest.endswith(":partial")
    assert found.files == 2


def test_no_data_is_no_files(tmp_path: Path) -> None:
    assert read_data(tmp_path / "missing").files == 0


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("home = /usr\nversion = 3.11.7\n", "3.11.7"),
        ("version_info = 3.12.1\nuv = 0.9\n", "3.12.1"),
        ("version-of-nothing\n", ""),
    ],
)
def test_a_virtual_environment_says_its_python(tmp_path: Path, text: str, version: str) -> None:
    (tmp_path / "pyvenv.cfg").write_text(text)
    assert python_version(tmp_path) == version
    used = read_environment(tmp_path, "0" * 64, "cpu")
    assert (used.python, used.prefix) == (version, str(tmp_path))


def test_an_environment_that_is_not_there_has_no_version(tmp_path: Path) -> None:
    assert python_version(tmp_path / "missing") == ""


def test_versions_are_those_of_the_tools() -> None:
    assert versions().perdure == __version__
    assert versions().uv == metadata.version("uv")
