from pathlib import Path

import pytest

from perdure.environments.conda.declared import Declared, decode, read_yaml
from perdure.errors import StorageError, UsageError

FILE = Path("/p/environment.yml")

WHOLE = """\
name: cats
channels:
  - conda-forge
  - nodefaults
prefix: /home/somebody/envs/cats
dependencies:
  - python=3.11
  - numpy >=1.26,<2
  - bioconda::samtools
  - pip
  - pip:
      - six>=1.16
      - requests[socks] ~= 2.31 ; python_version > "3.8"
      - thing @ https://example.org/thing-1.0-py3-none-any.whl
"""


def read(tmp_path: Path, text: str) -> Declared:
    file = tmp_path / "environment.yml"
    file.write_text(text)
    return decode(read_yaml(file), file)


def test_channels_packages_and_pips_section_are_read(tmp_path: Path) -> None:
    found = read(tmp_path, WHOLE)
    assert found.channels == ("conda-forge",)
    assert found.specs == ("python=3.11", "numpy >=1.26,<2", "bioconda::samtools", "pip")
    assert found.pip[0] == "six>=1.16"
    assert len(found.pip) == 3


def test_a_folder_is_told_from_where_the_file_is(tmp_path: Path) -> None:
    found = read(tmp_path, "channels: [./made here, https://example.org/c/]\ndependencies: [a]")
    assert found.channels == ((tmp_path / "made here").as_uri(), "https://example.org/c")


def test_defaults_are_the_two_channels_they_stand_for() -> None:
    found = decode({"channels": ["defaults"], "dependencies": ["a"]}, FILE)
    assert found.channels[0] == "https://repo.anaconda.com/pkgs/main"
    assert len(found.channels) == 2


def test_pip_alone_needs_no_channel() -> None:
    assert decode({"dependencies": [{"pip": ["six"]}]}, FILE).pip == ("six",)


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ([], "holds no keys"),
        (None, "holds no keys"),
        ({"channel": ["a"]}, "channel: unknown key; did you mean `channels`?"),
        ({"platforms": []}, "platforms: unknown key; `name`, `channels`, `dependencies`"),
        ({"variables": {"A": "1"}}, "variables: is not heeded"),
        ({"channels": "conda-forge"}, "channels: expected a list of words"),
        ({"dependencies": "numpy"}, "dependencies: expected a list"),
        ({"dependencies": ["numpy"]}, "channels: name at least one"),
        ({"dependencies": [3.11]}, r"dependencies\[0\]: expected a package"),
        ({"dependencies": [{"npm": ["x"]}]}, r"dependencies\[0\]: expected a package"),
        ({"dependencies": [{"pip": "six"}]}, r"dependencies\[0\].pip: expected a list"),
        ({"dependencies": [{"pip": ["-r more.txt"]}]}, "pip's options are not heeded"),
        ({"dependencies": [{"pip": ["./a.whl"]}]}, "is not NAME"),
        ({"dependencies": [{"pip": ["a @ https://me:pw@h/a.whl"]}]}, "for all to read"),
        ({"channels": ["https://me:secret@h/c"]}, "for all to read"),
        ({"channels": ["https://h/t/secret/c"]}, "for all to read"),
        ({"channels": ["ftp://h/c"]}, "is no channel"),
        ({"channels": ["--help"]}, "is no channel"),
    ],
)
def test_what_is_wrong_is_told(document: object, told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        decode(document, FILE)
    assert "secret" not in str(caught.value)
    assert "pw" not in str(caught.value)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(UsageError, match=r"3 problems in `/p/environment.yml`"):
        decode({"chanels": [], "dependencies": [3, {"pip": ["-e ."]}]}, FILE)


@pytest.mark.parametrize(
    "text",
    ["a: [", "a: 1\na: 2\n", "a: &x [*x, *y]", "!!python/object/apply:os.system ['x']", "\t- x"],
)
def test_broken_yaml_is_told_with_its_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"environment.yml` is not valid YAML"):
        read(tmp_path, text)


def test_a_file_that_is_not_text_or_not_there(tmp_path: Path) -> None:
    file = tmp_path / "environment.yml"
    with pytest.raises(StorageError, match="no such file"):
        read_yaml(file)
    file.write_bytes(b"name: \xff")
    with pytest.raises(UsageError, match="is not UTF-8: byte 6"):
        read_yaml(file)
