"""Perdure as a wheel, for a project whose perdure cannot be fetched from anywhere."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import perdure

DISTRIBUTION = "perdure"
# Where nothing is installed, and so nothing says what perdure needs: the runtime's one dependency.
_REQUIRES = ("xxhash>=3.4",)
# The first moment that a zip archive can express: the same files give identical bytes.
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel's file name and bytes."""

    name: str
    content: bytes


def installed_from_index() -> bool:
    """Return whether this perdure came from a package index, and so can be had there again.

    What came from a folder, a file or a repository has a direct_url.json (PEP 610).
    """
    try:
        distribution = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return False
    # Metadata of some other perdure says nothing about the files that are running.
    beside = Path(str(distribution.locate_file(DISTRIBUTION))) / "__init__.py"
    running = beside.is_file() and beside.samefile(perdure.__file__)
    return running and distribution.read_text("direct_url.json") is None


def build_wheel() -> Wheel:
    """Return this perdure as a wheel, made from its own files, the same bytes each time.

    Source: the binary distribution format, packaging.python.org.
    """
    version = perdure.__version__
    info = f"{DISTRIBUTION}-{version}.dist-info"
    files = {
        **_package_files(Path(perdure.__file__).parent),
        f"{info}/METADATA": _metadata(version, _requires()),
        f"{info}/WHEEL": _header(
            {
                "Wheel-Version": "1.0",
                "Generator": f"perdure {version}",
                "Root-Is-Purelib": "true",
                "Tag": "py3-none-any",
            }
        ),
        f"{info}/entry_points.txt": b"[console_scripts]\nperdure = perdure.cli.main:main\n",
    }
    record = f"{info}/RECORD"
    lines = [_record(name, content) for name, content in files.items()]
    files[record] = ("\n".join([*lines, f"{record},,"]) + "\n").encode()
    return Wheel(f"{DISTRIBUTION}-{version}-py3-none-any.whl", _zipped(files))


def _package_files(package: Path) -> dict[str, bytes]:
    """Return the files of the package by their place in the wheel."""
    return {
        f"{DISTRIBUTION}/{file.relative_to(package).as_posix()}": file.read_bytes()
        for file in sorted(package.rglob("*"))
        if file.is_file() and file.suffix != ".pyc" and "__pycache__" not in file.parts
    }


def _requires() -> tuple[str, ...]:
    try:
        return tuple(metadata.requires(DISTRIBUTION) or _REQUIRES)
    except metadata.PackageNotFoundError:
        return _REQUIRES


def _metadata(version: str, requires: tuple[str, ...]) -> bytes:
    fields = {
        "Metadata-Version": "2.1",
        "Name": DISTRIBUTION,
        "Version": version,
        "Requires-Python": ">=3.9",
    }
    extras = ["Provides-Extra: cli\n"] if any("extra ==" in each for each in requires) else []
    needs = [f"Requires-Dist: {each}\n" for each in requires if _published(each)]
    return _header(fields) + "".join([*extras, *needs]).encode()


def _published(requirement: str) -> bool:
    """Return whether a requirement belongs to what users install, not to perdure's developers."""
    return "extra ==" not in requirement or "cli" in requirement.split("extra ==")[1]


def _header(fields: Mapping[str, str]) -> bytes:
    return "".join(f"{name}: {value}\n" for name, value in fields.items()).encode()


def _record(name: str, content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(content)}"


def _zipped(files: Mapping[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as wheel:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            wheel.writestr(entry, content)
    return archive.getvalue()
