"""uv as an image needs it: this machine's own where it fits, else the same version, fetched."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

from perdure.environments.uv import find_uv, run_uv, this_machine
from perdure.errors import EnvironmentFailed
from perdure.model.report import Report

_TIMEOUT_S = 300.0
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64", "AMD64": "amd64"}
_WHEELS = {"linux/amd64": "x86_64-manylinux_2_28", "linux/arm64": "aarch64-manylinux_2_28"}


def this_platform() -> str:
    """Return what this machine is to an engine, such as `linux/amd64`."""
    machine = platform.machine()
    return f"{sys.platform}/{_MACHINES.get(machine, machine)}"


def uv_for(wanted: str, version: str, report: Report) -> Path:
    """Return a uv that runs on such a platform. May fetch it into the user's cache.

    Raises:
        EnvironmentFailed: there is no uv for it, or it cannot be fetched.
        MissingProgram: there is no uv here.
    """
    machine = this_machine()
    if wanted == this_platform():
        return Path(find_uv(machine.environ)).resolve()
    home = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    cache = Path(home) / "perdure" / "uv"
    final = cache / f"{version}-{wanted.replace('/', '-')}"
    if not final.is_file():
        _fetch(wanted, version, final, report)
    return final


def _fetch(wanted: str, version: str, final: Path, report: Report) -> None:
    if wanted not in _WHEELS:
        raise EnvironmentFailed(f"there is no uv to build an image for `{wanted}` with")
    report(f"fetching uv {version} for {wanted}")
    final.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=final.parent) as folder:
        words = ["pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"]
        words += ["--python-platform", _WHEELS[wanted], "--target", folder, f"uv=={version}"]
        run_uv(
            words,
            cwd=Path(folder),
            environ=this_machine().environ,
            timeout_s=_TIMEOUT_S,
            report=report,
        )
        found = Path(folder, "bin", "uv")
        found.chmod(0o755)
        draft = Path(folder, "uv.new")
        shutil.copy2(found, draft)
        draft.replace(final)
