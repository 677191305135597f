"""Which modules are streamed to the other side: with the standard library, all that is there."""

from __future__ import annotations

import functools
import hashlib
import io
import zipfile
from pathlib import Path

import perdure

_ROOT = Path(perdure.__file__).parent
# 1980-01-01, the earliest a zip knows: equal sources are equal bytes.
_THEN = (1980, 1, 1, 0, 0, 0)

MODULES = (
    "__init__",
    "environments/__init__",
    "environments/away",
    "environments/exclusive",
    "environments/machine",
    "environments/uv",
    "errors",
    "hosts/__init__",
    "hosts/local",
    "hosts/machine",
    "hosts/processes",
    "hosts/question",
    "hosts/side/__init__",
    "hosts/side/files",
    "hosts/side/frames",
    "hosts/side/program",
    "hosts/side/sockets",
    "hosts/side/survey",
    "jobs/__init__",
    "jobs/ending",
    "jobs/folder",
    "jobs/listing",
    "jobs/provenance",
    "jobs/snapshot",
    "jobs/there",
    "model/__init__",
    "model/image",
    "model/job",
    "model/job_values",
    "model/project",
    "model/report",
    "model/settings",
    "runtime/__init__",
    "runtime/generation",
    "runtime/names",
    "targets/__init__",
    "targets/far",
    "targets/place",
    "targets/presence",
    "targets/process",
    "targets/protocol",
    "targets/shelf",
    "targets/strays",
    "targets/supervision",
    "targets/supervisor",
)


@functools.cache
def archive() -> bytes:
    """Return the modules as a zip, the same bytes each time. Reads the disk."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for module in MODULES:
            info = zipfile.ZipInfo(f"perdure/{module}.py", _THEN)
            file.writestr(info, (_ROOT / f"{module}.py").read_bytes(), zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def digest() -> str:
    """Return what names these sources: equal sources, equal digests."""
    return hashlib.sha256(archive()).hexdigest()[:16]
