import json
import subprocess
import sys
from pathlib import Path

import pytest

from perdure.environments import inventory as script
from perdure.environments.installed import InstalledConda, InstalledPackage, read_prefix
from perdure.errors import EnvironmentFailed


def install(site: Path, name: str, **files: str) -> None:
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    info.joinpath("METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        'Requires-Dist: My_Need>=1\nRequires-Dist: other; extra == "more"\n'
    )
    for file, text in files.items():
        info.joinpath(file.replace("_json", ".json")).write_text(text)


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    folder = tmp_path / "an environment é"
    site = folder / "lib" / "python3.11" / "site-packages"
    install(site, "By_Pip", INSTALLER="pip\n", REQUESTED="")
    install(site, "by.uv", INSTALLER="uv", REQUESTED="")
    origin = {"url": "https://x.invalid/x", "vcs_info": {"vcs": "git", "commit_id": "0a1b"}}
    install(site, "from-git", direct_url_json=json.dumps(origin))
    near = {"url": "file:///near", "dir_info": {"editable": True}}
    install(site, "near", direct_url_json=json.dumps(near))
    (folder / "pyvenv.cfg").write_text("home = /usr/bin\nversion_info = 3.11.7\n")
    meta = folder / "conda-meta"
    meta.mkdir()
    records: tuple[dict[str, object], ...] = (
        {"requested_spec": "zlib >=1"},
        {"requested_specs": ["png"]},
        {},
    )
    for name, more in zip(("zlib", "png", "brought"), records, strict=True):
        record = {"name": name, "version": "1", "build": "h0", **more}
        (meta / f"{name}-1-h0.json").write_text(json.dumps(record))
    (meta / "history").write_text("")
    return folder


def test_what_installers_write_is_read(prefix: Path) -> None:
    found = read_prefix(prefix)
    assert found.python == "3.11.7"
    assert found.manual is None
    need = ("my-need",)
    assert found.packages == (
        InstalledPackage("by-pip", "1.0", need, requested=True),
        # uv says of every package that it was requested.
        InstalledPackage("by-uv", "1.0", need),
        InstalledPackage("from-git", "1.0", need, url="https://x.invalid/x", commit="0a1b"),
        InstalledPackage("near", "1.0", need, url="file:///near", editable=True),
    )
    assert found.conda == (
        InstalledConda("brought", "1", "h0", ""),
        InstalledConda("png", "1", "h0", "png"),
        InstalledConda("zlib", "1", "h0", "zlib >=1"),
    )


def test_a_folder_that_is_no_environment_is_named(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFailed, match="is no environment"):
        read_prefix(tmp_path)


def test_the_script_needs_nothing_but_a_python() -> None:
    text = Path(script.__file__).read_bytes()
    done = subprocess.run(
        [sys.executable, "-I", "-"], input=text, capture_output=True, timeout=120, check=True
    )
    found = json.loads(done.stdout)
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert "pytest" in [each["name"] for each in found["packages"]]
