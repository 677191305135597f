"""A command in an image, by Apptainer, with the variables that it is to have.

enclosed.py [NAME[=VALUE]...] apptainer exec --cleanenv --no-eval OPTIONS... IMAGE COMMAND...

An image has its own variables. Of those around it the command gets what tells it of its job, of
its place in the cluster and of its devices, and what is named: `NAME` as it is here, `NAME=VALUE`
as it says. The values of the former stand in no command line, which others on the node could read.
Apptainer was called Singularity once, and is taken under either name. Its documentation:
https://apptainer.org/docs/user/1.4/environment_and_metadata.html.

Without setuid parts Apptainer has the image mounted by a process of its own, squashfuse. A Slurm
that tracks processes by cgroups warns those alone that it started itself (proctrack/cgroup); one
that tracks them by their parents warns all of them. squashfuse ends of that, and what runs in the
image with it, of SIGBUS, before it has saved. There an image is unpacked for each start instead,
which APPTAINER_UNSQUASH decides for whoever sets it.

Standard library only, Python 3.9 or newer, and run by its path: nothing else is imported.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import Dict, List, Mapping, Sequence, Tuple

PROGRAMS = ("apptainer", "singularity")
_NOT_FOUND = 127
# Which job it is, where, and which devices and networks it was given.
_KEPT = (
    *("PERDURE_", "SLURM", "CUDA_", "NVIDIA_", "ROCR_", "HIP_", "GPU_DEVICE_", "ZE_"),
    *("NCCL_", "UCX_", "FI_", "OMP_"),
)
# By the names that the flag for it has: `--unsquash`, and with SingularityCE `--tmp-sandbox`.
_UNPACKED = {
    "APPTAINER_UNSQUASH": "1",
    "SINGULARITY_UNSQUASH": "1",
    "SINGULARITY_TMP_SANDBOX": "1",
}
# In front of a variable's name: what Apptainer gives the command, and Singularity under its name.
_FOR = {"apptainer": "APPTAINERENV_", "singularity": "SINGULARITYENV_"}


def main(argv: Sequence[str]) -> int:
    """Become the command; return an exit code only where there is nothing that could run it."""
    at = list(argv).index(PROGRAMS[0])
    program, path = find_program(os.environ)
    if path is None:
        where = os.environ.get("SLURMD_NODENAME") or os.uname().nodename
        _say(
            f"neither `apptainer` nor `singularity` is on the PATH of `{where}`, and the job runs "
            "in an image: what brings it belongs into `modules` of the target; without an image: "
            '`engine = "process"`'
        )
        return _NOT_FOUND
    around = {**(_UNPACKED if is_exposed() else {}), **given(os.environ, argv[:at], program)}
    try:
        os.execve(path, [program, *argv[at + 1 :]], around)  # noqa: S606 - that is what it is for
    except OSError as error:
        _say(f"cannot start `{path}`: {error.strerror}")
        return _NOT_FOUND - 1


def find_program(environ: Mapping[str, str]) -> Tuple[str, str | None]:
    """Return what Apptainer is called here, and where it is: None where it is not."""
    for name in PROGRAMS:
        path = shutil.which(name, path=environ.get("PATH", os.defpath))
        if path is not None:
            return name, path
    return PROGRAMS[0], None


def given(environ: Mapping[str, str], words: Sequence[str], program: str) -> Dict[str, str]:
    """Return the variables with which Apptainer is started: what the command is to have, and all.

    What it reads for itself, such as APPTAINER_BIND, stays.
    """
    named = [word for word in words if "=" not in word]
    passed: List[Tuple[str, str]] = [
        (name, value) for name, value in environ.items() if name.startswith(_KEPT) or name in named
    ]
    passed += [(name, value) for name, _, value in (w.partition("=") for w in words if "=" in w)]
    return {**environ, **{f"{_FOR[program]}{name}": value for name, value in passed}}


def is_tracked(cgroups: str) -> bool:
    """Return whether a Slurm tracks a process by its cgroup, by /proc/self/cgroup. Pure.

    It does so by the freezer of the first generation, or by the one hierarchy of the second.
    """
    paths = (line.split(":", 2)[1:] for line in cgroups.splitlines() if line.count(":") >= 2)
    return any(
        "/job_" in path and "/step_" in path
        for controllers, path in paths
        if controllers in ("", "freezer")
    )


def is_exposed(own: str = "/proc/self/cgroup") -> bool:
    """Return whether a warning of Slurm's would reach what has an image mounted. Reads /proc."""
    try:
        with open(own, encoding="utf-8", errors="replace") as file:
            return not is_tracked(file.read())
    except OSError:
        return True


def _say(text: str) -> None:
    sys.stderr.write(f"perdure: {text}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
