"""A program that serves somewhere else, over one line: two real processes, and a real Slurm."""

from __future__ import annotations

import concurrent.futures
import sys
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.errors import EnvironmentFailed
from perdure.hosts.side import modules
from perdure.model.settings import SlurmSettings
from perdure.services.cluster import on_node
from perdure.services.program import DEFAULT, SOCKET, Program, spec_of
from perdure.services.side import desk, record
from tests.engines.slurm import Cluster
from tests.services.side.test_desk import SMALL, get
from tests.waiting import until


@pytest.fixture
def root(tmp_path: Path, slurm: Cluster) -> Iterator[str]:
    folder = tmp_path / "a 'project'"
    folder.mkdir()
    desk.bring_program(str(folder), modules.digest(), modules.archive())
    yield str(folder)
    desk.stop(str(folder), "small")


def start(root: str, *words: str, settings: SlurmSettings | None = None) -> dict[str, object]:
    program = Program(argv=(sys.executable, str(SMALL), SOCKET, *words), cwd=root)
    log = str(record.folder_of(root, "small") / record.LOG)
    there = str(desk.program_path(root, modules.digest()))
    away = on_node(program, settings or SlurmSettings(), modules=there, log=log, gpus="1")
    spec = {**spec_of("small", "0a0b0c0d", away, DEFAULT), "port": 0, "ports": []}
    return desk.start(root, "small", spec, modules.digest())


def test_a_service_on_a_node_is_reached_here_and_ends_with_its_job(
    root: str, slurm: Cluster
) -> None:
    stands = start(root)
    assert get(stands) == "hello"
    (job,) = slurm.jobs()
    assert (job[1], job[3]) == ("RUNNING", "node1")
    gpus = slurm.ask("squeue", "--noheader", "--format=%b", f"--job={job[0]}")
    assert gpus.endswith("gpu:1")
    # Many at once, over the one line.
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: get(stands), range(40))) == {"hello"}
    assert desk.stop(root, "small")
    until(lambda: slurm.jobs() == [])
    with pytest.raises(urllib.error.URLError):
        get(stands)


def test_what_ends_at_once_on_the_node_is_told_with_its_words(root: str, slurm: Cluster) -> None:
    with pytest.raises(EnvironmentFailed, match="no such flag, or so"):
        start(root, "fail")
    until(lambda: slurm.jobs() == [])


def test_a_partition_that_is_none_is_told_in_slurms_words(root: str) -> None:
    with pytest.raises(EnvironmentFailed, match="invalid partition"):
        start(root, settings=SlurmSettings(partition="nowhere"))
