"""What is started in an image: its variables, and the program that starts it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from perdure.runtime import enclosed
from tests.runtime.supervisor.harness import alone, measuring

FIRST = """\
13:freezer:/slurm/uid_1000/job_7/step_0
4:memory:/slurm/uid_1000/job_7/step_0/task_0
1:name=systemd:/system.slice/slurmd.service
"""


@pytest.mark.parametrize(
    ("cgroups", "tracked"),
    [
        (FIRST, True),
        ("0::/system.slice/slurmstepd.scope/job_7/step_0/user/task_0\n", True),
        # Its processors are limited by cgroups there, it is not tracked by them.
        (FIRST.replace("freezer:/slurm/uid_1000/job_7/step_0", "freezer:/"), False),
        ("0::/user.slice/user-1000.slice/session-1.scope\n", False),
        ("", False),
        ("nonsense\n", False),
    ],
)
def test_who_is_tracked_by_cgroups(cgroups: str, tracked: bool) -> None:
    assert enclosed.is_tracked(cgroups) is tracked


def test_a_command_gets_what_is_of_its_job_and_what_is_named() -> None:
    around = {
        "PATH": "/usr/bin",
        "PERDURE_JOB": "a",
        "SLURMD_NODENAME": "node1",
        "CUDA_VISIBLE_DEVICES": "0",
        "PYTHONHOME": "/usr",
        "TOKEN": "$(x)\n'",
        "APPTAINER_BIND": "/data",
    }
    found = enclosed.given(around, ["TOKEN", "GONE", "PYTHONPATH=/a=b:/c"], "apptainer")
    assert {name: found[name] for name in around} == around
    inside = {name.partition("_")[2]: value for name, value in found.items() if "ENV_" in name}
    assert inside == {
        "PERDURE_JOB": "a",
        "SLURMD_NODENAME": "node1",
        "CUDA_VISIBLE_DEVICES": "0",
        "TOKEN": "$(x)\n'",
        "PYTHONPATH": "/a=b:/c",
    }
    assert "SINGULARITYENV_TOKEN" in enclosed.given(around, ["TOKEN"], "singularity")


def test_without_the_word_of_a_kernel_it_is_taken_for_exposed(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    assert enclosed.is_exposed(os.fspath(own))
    own.write_text(FIRST)
    assert not enclosed.is_exposed(os.fspath(own))


def called(path: Path) -> subprocess.CompletedProcess[str]:
    words = [*alone(enclosed), "LONE=1", "apptainer", "exec", "a b"]
    environ = {"PATH": os.fspath(path), "SLURMD_NODENAME": "node7", **measuring()}
    return subprocess.run(words, env=environ, capture_output=True, text=True, timeout=60)


def test_the_program_is_found_by_either_name_or_told_to_be_missing(tmp_path: Path) -> None:
    done = called(tmp_path)
    assert done.returncode == 127
    assert done.stderr.startswith("perdure: neither `apptainer` nor `singularity` is on the PATH")
    assert "of `node7`" in done.stderr
    own = tmp_path / "singularity"
    own.write_text('#!/bin/sh\necho "$SINGULARITYENV_LONE" "$#" "$2"\n')
    own.chmod(0o755)
    assert called(tmp_path).stdout == "1 2 a b\n"
    (tmp_path / "apptainer").write_text("\0")
    (tmp_path / "apptainer").chmod(0o755)
    done = called(tmp_path)
    assert (done.returncode, "cannot start" in done.stderr) == (126, True)
