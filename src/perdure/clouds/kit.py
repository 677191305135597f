"""Perdure's own modules for a machine that has nothing but a Python, and obstore with them."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
import platform
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import perdure
from perdure.clouds.side import keys
from perdure.clouds.side.bucket import Bucket
from perdure.environments.uv import find_uv
from perdure.errors import EnvironmentFailed, MissingProgram
from perdure.hosts import local

# What obstore has wheels for, and the machines of `types` are.
PLATFORM = ("linux", "x86_64")
_THEN = (1980, 1, 1, 0, 0, 0)
_LEFT_OUT = ("template", "__pycache__")
_INSTALL_S = 300.0


@functools.cache
def packed() -> bytes:
    """Return the kit as a zip: equal sources, equal bytes. Reads the disk.

    Raises:
        MissingProgram: obstore is not installed here.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for name, path in (*_own(), *_obstore()):
            file.writestr(zipfile.ZipInfo(name, _THEN), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return content.getvalue()


def digest() -> str:
    """Return what names the kit."""
    return hashlib.sha256(packed()).hexdigest()[:16]


def bring(bucket: Bucket) -> str:
    """Return the kit's name, once it is in the bucket. Touches the network."""
    name = digest()
    key = keys.kit(name)
    if not bucket.names(key):
        bucket.put(key, packed())
    return name


def _own() -> Iterator[tuple[str, Path]]:
    root = Path(perdure.__file__).parent
    for path in sorted(root.rglob("*.py")):
        inner = path.relative_to(root)
        if not set(_LEFT_OUT) & set(inner.parts):
            yield f"perdure/{inner.as_posix()}", path


def _obstore() -> Iterator[tuple[str, Path]]:
    try:
        import obstore
    except ImportError as error:
        raise MissingProgram(
            "buckets need the library obstore, which is not installed",
            program="obstore",
            hint="pip install 'perdure[cli,aws]'",
        ) from error
    root = Path(obstore.__file__).parent
    if (sys.platform, platform.machine()) != PLATFORM:
        root = _fetched(obstore.__version__) / "obstore"
    for path in sorted(root.rglob("*")):
        wanted = path.is_file() and path.suffix in (".py", ".so")
        if wanted and "__pycache__" not in path.parts:
            yield f"obstore/{path.relative_to(root).as_posix()}", path
    # Obstore's only need, before Python 3.13.
    import typing_extensions

    yield "typing_extensions.py", Path(typing_extensions.__file__)


def _fetched(version: str) -> Path:
    """Return a folder with the obstore of another platform: uv brings it. Touches the network.

    In the user's own cache, whole or not at all: what is in it runs on machines, as root.
    """
    home = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    final = Path(home) / "perdure" / "obstore" / f"{version}-linux-x86_64"
    if final.is_dir():
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=final.parent) as scratch:
        draft = Path(scratch, "new")
        install = (find_uv(os.environ), "pip", "install", "--quiet", "--no-deps")
        wanted = ("--python-platform", "x86_64-manylinux_2_28", "--python-version", "3.12")
        named = ("--target", str(draft), f"obstore=={version}")
        done = local.run((*install, *wanted, *named), timeout_s=_INSTALL_S)
        if done.returncode != 0 or not (draft / "obstore").is_dir():
            raise EnvironmentFailed(f"no obstore {version} for Linux: {done.complaint[-300:]}")
        with contextlib.suppress(OSError):
            draft.rename(final)  # or somebody of ours was first
    return final
