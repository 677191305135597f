"""NVIDIA's driver against the CUDA of the locked wheels, and whether containers get the GPU.

Source: docs.nvidia.com/deploy/cuda-compatibility: within a major version any minor one runs on the
oldest driver of that major version; a newer driver runs all older ones.
"""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from perdure.doctor.finding import Finding, fine, problem, warning
from perdure.doctor.programs import version_in
from perdure.doctor.surroundings import Surroundings
from perdure.hosts import local
from perdure.model.project import Project

ASK_S = 15.0
#: The first driver of each major version of CUDA.
DRIVERS = {11: 450, 12: 525, 13: 580}
CUDA = "cuda"

_DEVICES = Path("/sys/bus/pci/devices")
_NVIDIA = "0x10de"
_DISPLAY = "0x03"
_RUNTIME = re.compile(r"nvidia-cuda-runtime(?:-cu\d+)?")
_LOCAL_VERSION = re.compile(r"\+cu(\d{2})(\d)")
_REPORTED = re.compile(r"CUDA Version:\s*(\d+)\.(\d+)")


def driver(around: Surroundings) -> Iterator[Finding]:
    """Yield which GPUs there are, and whether the locked CUDA runs on their driver."""
    program = shutil.which("nvidia-smi", path=around.environ.get("PATH"))
    if program is None:
        yield _without_driver(around, has_device(_DEVICES))
        return
    query = [program, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    told = local.run(query, env=around.environ, timeout_s=ASK_S)
    if told.returncode != 0:
        said = (told.text or told.complaint or f"exit code {told.returncode}").splitlines()[0]
        remedy = "restart the machine after an update of the driver, or install the driver again"
        yield problem("gpu", f"`nvidia-smi` fails: {said}", remedy)
        return
    gpus = [line.split(", ") for line in told.text.splitlines() if line.count(", ") == 2]
    yield fine("gpu", "; ".join(f"{name} ({memory})" for name, _, memory in gpus) or "none")
    if gpus:
        summary = local.run([program], env=around.environ, timeout_s=ASK_S).text
        yield judge_cuda(gpus[0][1], reported_cuda(summary), _needed(around), around.variant)


def container_gpus(around: Surroundings) -> Iterator[Finding]:
    """Yield whether the engine can hand the GPUs to a container."""
    version = around.seen.version
    if version is None or not shutil.which("nvidia-smi", path=around.environ.get("PATH")):
        return
    if version.gpus:
        yield fine("gpu in containers", "the engine has NVIDIA's runtime")
    else:
        remedy = (
            "install nvidia-container-toolkit, then `sudo nvidia-ctk runtime configure` and "
            "restart the engine"
        )
        yield warning("gpu in containers", "the engine has no runtime of NVIDIA's", remedy)


def judge_cuda(
    driver: str,
    reported: tuple[int, int] | None,
    needed: tuple[int, int] | None,
    variant: str | None,
) -> Finding:
    """Return whether wheels made for the CUDA `needed` run on a driver."""
    told = f"driver {driver}"
    told += f" (CUDA {reported[0]}.{reported[1]})" if reported else ""
    if needed is None:
        return fine(CUDA, f"{told}; no wheels for CUDA are locked")
    told += f"; the lock needs CUDA {needed[0]}.{needed[1]}"
    number = version_in(driver) or (int(driver),) if driver.isdigit() else version_in(driver)
    floor = DRIVERS.get(needed[0])
    if floor is not None and number is not None:
        runs = number[0] >= floor
    else:
        runs = reported is None or reported[0] >= needed[0]
    if runs:
        return fine(CUDA, told)
    least = f"at least {floor}" if floor else "newer"
    remedy = f"install a driver that is {least}, or lock a torch for an older CUDA"
    # What a cpu variant never loads does not fail it.
    make = problem if variant in (None, CUDA) else warning
    return make(CUDA, f"{told}: too old a driver", remedy)


def needed_cuda(lock: Mapping[str, object]) -> tuple[int, int] | None:
    """Return the CUDA that a parsed uv.lock's wheels are made for, None where they need none."""
    packages = lock.get("package")
    found = []
    for package in packages if isinstance(packages, list) else []:
        name, version = package.get("name"), package.get("version")
        if not isinstance(name, str) or not isinstance(version, str):
            continue
        number = version_in(version)
        if _RUNTIME.fullmatch(name) and number and len(number) > 1:
            found.append((number[0], number[1]))
        local_version = _LOCAL_VERSION.search(version)
        if local_version:
            found.append((int(local_version[1]), int(local_version[2])))
    return max(found, default=None)


def reported_cuda(summary: str) -> tuple[int, int] | None:
    """Return the newest CUDA that a driver knows, from what `nvidia-smi` prints."""
    found = _REPORTED.search(summary)
    return (int(found[1]), int(found[2])) if found else None


def has_device(devices: Path) -> bool:
    """Return whether a display device of NVIDIA's is plugged in. Reads Linux's list of devices."""
    for device in devices.glob("*"):
        try:
            vendor = (device / "vendor").read_text().strip()
            kind = (device / "class").read_text().strip()
        except OSError:
            continue
        if vendor == _NVIDIA and kind.startswith(_DISPLAY):
            return True
    return False


def _without_driver(around: Surroundings, device: bool) -> Finding:
    if device:
        told = "an NVIDIA device, and no driver for it: there is no `nvidia-smi`"
        return warning("gpu", told, "install NVIDIA's driver")
    if around.variant == CUDA:
        told = "no NVIDIA GPU, and the default variant is `cuda`: torch will compute on the CPU"
        return warning("gpu", told, "perdure run --variant cpu, or `default_variant` in settings")
    return fine("gpu", "no NVIDIA GPU: the variant `cpu`")


def _needed(around: Surroundings) -> tuple[int, int] | None:
    return needed_cuda(_lock(around.project)) if around.project else None


def _lock(project: Project) -> Mapping[str, object]:
    try:
        return tomllib.loads((project.root / "uv.lock").read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        # Not locked yet, or broken: `perdure lock` says so.
        return {}
