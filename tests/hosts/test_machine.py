from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from perdure.hosts import machine
from perdure.hosts.machine import boot_id, this_machine


def program(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_this_machine_is_described() -> None:
    found = this_machine()
    assert found.host == socket.gethostname()
    assert found.os.startswith(os.uname().sysname)
    assert found.cpu
    assert 0 < found.cores <= (os.cpu_count() or 1)
    assert found.memory_gib > 0
    assert found.boot == boot_id() != ""


def test_gpus_are_what_the_driver_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin", "nvidia-smi", "echo 'H100, 80 GiB'; echo 'H100, 80 GiB'", monkeypatch)
    assert this_machine().gpus == ("H100, 80 GiB", "H100, 80 GiB")


@pytest.mark.parametrize("script", ["exit 9", "echo broken; exit 1", "sleep 30"])
def test_a_driver_that_fails_or_hangs_is_no_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setattr(machine, "_ASK_S", 0.3)
    program(tmp_path / "bin", "nvidia-smi", script, monkeypatch)
    assert this_machine().gpus == ()


def test_where_there_is_no_proc_the_system_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_BOOT_ID", tmp_path / "missing")
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "missing")
    monkeypatch.delattr(os, "sched_getaffinity")
    program(tmp_path / "bin", "sysctl", 'echo "the $2"', monkeypatch)
    found = this_machine()
    assert found.boot == "the kern.boottime"
    assert found.cpu == "the machdep.cpu.brand_string"
    assert found.cores == os.cpu_count()


def test_a_machine_that_says_nothing_has_no_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_BOOT_ID", tmp_path / "missing")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert boot_id() == ""
