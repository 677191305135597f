"""A small image that a job can run in: Debian's Python, and the supervisor's sources. No packages.

It is laid out as perdure's own images are, and takes two seconds instead of a minute.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

from perdure import runtime
from perdure.jobs.folder import write_record
from perdure.model.job import ImageUsed, JobRecord
from tests.engines.engines import RealEngine

USER_ID = 1000
BASE = "debian:bookworm-slim"
NAME = "perdure-tests/small"

_FOLDERS = ("code", "data", "notebooks", "results")
_SETUP = f"""\
set -e
groupadd --gid {USER_ID} perdure
useradd --uid {USER_ID} --gid {USER_ID} --create-home perdure
ln -s python3 /usr/bin/python
mkdir -p {" ".join(f"/project/{name}" for name in _FOLDERS)}
ln -s /project/code /code
chown {USER_ID}:{USER_ID} /project/*
tar -C /opt -x
"""
# An archive of Python, and of the libraries that it or a module may be linked to.
_PARTS = """\
set -e
cd /
python=usr/lib/python3.11
linked=$(ldd usr/bin/python3.11 $python/lib-dynload/*.so | grep -v ':$')
linked=$(echo "$linked" | grep -o '/[^ ]*' | sort -u)
more=$(ls /lib/*/libpthread.so.0 /lib/*/librt.so.1 /lib/*/libdl.so.2)
tar -ch tmp usr/bin/python $python etc/passwd etc/group opt/perdure $linked $more
"""


def small_image(engine: RealEngine) -> ImageUsed:
    """Return the image, made if the engine has it not, or of another supervisor."""
    sources = _sources()
    tag = f"{NAME}:{_digest(sources)}"
    known = engine.docker("images", "--quiet", "--no-trunc", tag)
    if not known:
        name = f"perdure-tests-small-{_digest(sources)}"
        engine.docker("rm", "--force", name, check=False)
        words = ("run", "--interactive", f"--name={name}", "--pull=never", "--user=0")
        engine.docker(*words, "--network=none", BASE, "sh", "-c", _SETUP, stdin=sources)
        engine.docker("commit", "--change=USER perdure", name, tag)
        engine.docker("rm", name)
        known = engine.docker("images", "--quiet", "--no-trunc", tag)
    return ImageUsed(tag, known, USER_ID, USER_ID)


def smaller_image(engine: RealEngine) -> ImageUsed:
    """Return the same without all that a Python does not need, a fifth as large; it has no shell.

    For tests that bring an image somewhere, where each byte takes its time.
    """
    whole = small_image(engine)
    tag = f"{NAME}er:{_digest(_sources(), _SETUP + _PARTS)}"
    known = engine.docker("images", "--quiet", "--no-trunc", tag)
    if not known:
        words = ("run", "--rm", "--network=none", "--user=0", "--entrypoint=sh", whole.id)
        packed = subprocess.run(
            [engine.client, *words, "-c", _PARTS],
            env=engine.environ,
            capture_output=True,
            timeout=300,
            check=True,
        ).stdout
        engine.docker("import", "--change=ENV PATH=/usr/bin", "-", tag, stdin=packed)
        known = engine.docker("images", "--quiet", "--no-trunc", tag)
    return ImageUsed(tag, known, USER_ID, USER_ID)


def contained(record: JobRecord, image: ImageUsed) -> JobRecord:
    """Return a submitted job as one that runs in the image; it is written down as such."""
    environment = replace(record.environment, image=image, prefix=None)
    moved = replace(record, target="docker", environment=environment)
    write_record(moved)
    return moved


def _sources() -> bytes:
    """Return an archive of the supervisor's sources, below `perdure/`; the same each time."""
    package = Path(runtime.__file__).parents[1]
    files = [package / "__init__.py", *sorted((package / "runtime").rglob("*.py"))]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for file in files:
            entry = tarfile.TarInfo(f"perdure/perdure/{file.relative_to(package).as_posix()}")
            entry.size, entry.mode = file.stat().st_size, 0o644
            archive.addfile(entry, io.BytesIO(file.read_bytes()))
    return buffer.getvalue()


def _digest(sources: bytes, script: str = _SETUP) -> str:
    return hashlib.sha256(sources + script.encode()).hexdigest()[:16]


def training_image(engine: RealEngine) -> ImageUsed:
    """Return the small image with what a training imports: perdure itself, and xxhash."""
    whole = small_image(engine)
    packed = _packages()
    tag = f"{NAME}-training:{_digest(_sources() + packed)}"
    known = engine.docker("images", "--quiet", "--no-trunc", tag)
    if not known:
        name = f"perdure-tests-training-{_digest(packed)}"
        engine.docker("rm", "--force", name, check=False)
        words = ("run", "--interactive", f"--name={name}", "--pull=never", "--user=0")
        to = ("tar", "-C", "/usr/lib/python3/dist-packages", "-x")
        engine.docker(*words, "--network=none", "--entrypoint=", whole.id, *to, stdin=packed)
        change = ('--change=ENV SAID="it\'s $(x)"', "--change=USER perdure")
        engine.docker("commit", *change, name, tag)
        engine.docker("rm", name)
        known = engine.docker("images", "--quiet", "--no-trunc", tag)
    return ImageUsed(tag, known, USER_ID, USER_ID)


def _packages() -> bytes:
    """Return an archive of perdure and xxhash, as they are imported here; the same each time."""
    import xxhash

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for package in (Path(runtime.__file__).parents[1], Path(xxhash.__file__).parent):
            for file in sorted(package.rglob("*")):
                if file.is_file() and "__pycache__" not in file.parts:
                    name = f"{package.name}/{file.relative_to(package).as_posix()}"
                    entry = tarfile.TarInfo(name)
                    entry.size, entry.mode = file.stat().st_size, 0o644
                    archive.addfile(entry, io.BytesIO(file.read_bytes()))
    return buffer.getvalue()
