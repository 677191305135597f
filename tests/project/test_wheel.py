import base64
import csv
import hashlib
import io
import json
import tomllib
import zipfile
from email.parser import Parser
from importlib import metadata
from pathlib import Path

import pytest

import perdure
from perdure.project.wheel import build_wheel, installed_from_index

CHECKOUT = Path(__file__).parents[2]


def archive() -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(build_wheel().content))


def test_the_same_files_give_identical_bytes() -> None:
    assert build_wheel() == build_wheel()
    assert build_wheel().name == f"perdure-{perdure.__version__}-py3-none-any.whl"


def test_it_holds_the_package_and_its_template_and_nothing_compiled() -> None:
    names = archive().namelist()
    package = Path(perdure.__file__).parent
    for file in ("__init__.py", "runtime/names.py", "template/src/PACKAGE/train.py.jinja"):
        assert f"perdure/{file}" in names
        assert archive().read(f"perdure/{file}") == (package / file).read_bytes()
    assert not any(name.endswith(".pyc") or "__pycache__" in name for name in names)
    assert len(names) == len(set(names))


def test_every_file_is_in_the_record() -> None:
    wheel = archive()
    record = f"perdure-{perdure.__version__}.dist-info/RECORD"
    rows = list(csv.reader(io.StringIO(wheel.read(record).decode())))
    assert [row[0] for row in rows] == wheel.namelist()
    for name, digest, size in rows[:-1]:
        content = wheel.read(name)
        wanted = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
        assert (digest, size) == (f"sha256={wanted.decode()}", str(len(content)))
    assert rows[-1] == [record, "", ""]


def test_its_metadata_is_what_pyproject_says() -> None:
    text = archive().read(f"perdure-{perdure.__version__}.dist-info/METADATA").decode()
    message = Parser().parsestr(text)
    pyproject = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert message["Requires-Python"] == pyproject["requires-python"]
    assert message.get_all("Provides-Extra") == ["cli"]
    needs = message.get_all("Requires-Dist")
    assert needs is not None
    assert [need for need in needs if "extra" not in need] == pyproject["dependencies"]
    cli = {need for need in needs if "extra" in need}
    assert cli == {of_extra(need) for need in pyproject["optional-dependencies"]["cli"]}


def of_extra(need: str) -> str:
    """Return a requirement as the metadata has it: with the extra as one more condition."""
    what, _, marker = (part.strip() for part in need.partition(";"))
    return f"{what}; ({marker}) and extra == 'cli'" if marker else f"{what}; extra == 'cli'"


class Installed(metadata.Distribution):
    """An installation of these files, from an index or from elsewhere."""

    def __init__(self, url: str | None, root: Path) -> None:
        self.url = url
        self.root = root

    def read_text(self, filename: str) -> str | None:
        return self.url if filename == "direct_url.json" else None

    def locate_file(self, path: object) -> Path:
        return self.root / str(path)


@pytest.mark.parametrize(
    ("url", "elsewhere", "expected"),
    [(None, False, True), (json.dumps({"url": "file:///x"}), False, False), (None, True, False)],
)
def test_where_this_perdure_came_from(
    url: str | None,
    elsewhere: bool,
    expected: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = tmp_path if elsewhere else Path(perdure.__file__).parents[1]
    monkeypatch.setattr(metadata, "distribution", lambda name: Installed(url, root))
    assert installed_from_index() is expected


def test_a_checkout_on_the_path_did_not_come_from_an_index(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    monkeypatch.setattr(metadata, "requires", missing)
    assert not installed_from_index()
    text = archive().read(f"perdure-{perdure.__version__}.dist-info/METADATA").decode()
    assert "Requires-Dist: xxhash" in text
    assert "extra" not in text
