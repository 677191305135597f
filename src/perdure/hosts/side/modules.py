"""Which modules are streamed to the other side: with the standard library, all that is there."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from zlib import crc32

import perdure

_ROOT = Path(perdure.__file__).parent
# 1980-01-01, the earliest a zip knows: equal sources are equal bytes.
_THEN = (1980, 1, 1, 0, 0, 0)

MODULES = (
    "__init__",
    "development/__init__",
    "development/far",
    "environments/__init__",
    "environments/away",
    "environments/exclusive",
    "environments/machine",
    "environments/uv",
    "errors",
    "hosts/__init__",
    "hosts/engine",
    "hosts/engine_client",
    "hosts/engine_facts",
    "hosts/engine_socket",
    "hosts/local",
    "hosts/machine",
    "hosts/processes",
    "hosts/question",
    "hosts/side/__init__",
    "hosts/side/errand",
    "hosts/side/files",
    "hosts/side/frames",
    "hosts/side/outliving",
    "hosts/side/program",
    "hosts/side/sockets",
    "hosts/side/survey",
    "hosts/tree",
    "images/__init__",
    "images/mounts",
    "jobs/__init__",
    "jobs/ending",
    "jobs/folder",
    "jobs/listing",
    "jobs/looking",
    "jobs/provenance",
    "jobs/snapshot",
    "jobs/there",
    "model/__init__",
    "model/code",
    "model/duration",
    "model/image",
    "model/job",
    "model/job_values",
    "model/project",
    "model/report",
    "model/settings",
    "model/sweep",
    "runtime/__init__",
    "runtime/array",
    "runtime/generation",
    "runtime/names",
    "runtime/settled",
    "services/__init__",
    "services/side/__init__",
    "services/side/away",
    "services/side/contained",
    "services/side/curves",
    "services/side/desk",
    "services/side/gate",
    "services/side/keeper",
    "services/side/line",
    "services/side/record",
    "services/side/request",
    "services/side/rows",
    "services/side/tensorboard",
    "services/side/tools",
    "targets/__init__",
    "targets/container",
    "targets/far",
    "targets/far_arrays",
    "targets/invocation",
    "targets/kubernetes_ticket",
    "targets/lasting",
    "targets/leftover",
    "targets/place",
    "targets/presence",
    "targets/process",
    "targets/protocol",
    "targets/refusal",
    "targets/relay",
    "targets/shelf",
    "targets/slurm",
    "targets/slurm_apptainer",
    "targets/slurm_array",
    "targets/slurm_capacity",
    "targets/slurm_hands",
    "targets/slurm_image",
    "targets/slurm_listing",
    "targets/slurm_nodes",
    "targets/slurm_queue",
    "targets/slurm_relay",
    "targets/slurm_script",
    "targets/slurm_step",
    "targets/slurm_submission",
    "targets/slurm_surroundings",
    "targets/slurm_ticket",
    "targets/standing",
    "targets/strays",
    "targets/supervision",
    "targets/supervisor",
    "targets/time_limit",
    "targets/view",
)


@functools.cache
def archive() -> bytes:
    """Return the modules as a zip, the same bytes each time. Reads the disk."""
    # Here, not above: who asks over a connection that is there packs nothing.
    import io
    import zipfile

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for module in MODULES:
            info = zipfile.ZipInfo(f"perdure/{module}.py", _THEN)
            file.writestr(info, (_ROOT / f"{module}.py").read_bytes(), zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def digest() -> str:
    """Return what names these sources by their sizes and times: others, another digest."""
    # Not by paths: this is asked at each question, and those would take longer than its answer.
    root = os.fspath(_ROOT)
    found = [os.stat(f"{root}/{module}.py") for module in MODULES]  # noqa: PTH116
    known = ",".join([f"{each.st_size} {each.st_mtime_ns}" for each in found]).encode()
    return f"{crc32(known):08x}{crc32(known[::-1]):08x}"
