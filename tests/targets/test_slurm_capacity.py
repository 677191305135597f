from __future__ import annotations

import threading

import pytest

from perdure.errors import PerdureError, SchedulerUnreachable, UsageError
from perdure.model.job import UNLIMITED, Resources
from perdure.model.settings import SlurmSettings
from perdure.targets.slurm_capacity import Node, Nodes, of_partition, parse, require, usual_s
from tests.waiting import until

WIDTHS = (64, 64, 32, 32, 20, 20, 20, 20, 200, 200)


def line(*cells: str) -> str:
    return "".join(cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True))


TEXT = "\n".join(
    [
        line(
            *("main*", "node1", "mixed", "1/3/0/4", "2000", "500", "infinite", "n/a"),
            *("gpu:2(S:0-1)", "gpu:1(IDX:0)"),
        ),
        line(
            *("gpu", "big-1", "idle", "0/64/0/64", "512000", "0", "2-00:00:00", "1:00"),
            *("gpu:a100:4,gpu:mig:2,nvme:1", "gpu:a100:0,gpu:mig:1"),
        ),
        line("gpu", "big-2", "down*", "0/0/64/64", "512000", "0", "2-00:00:00", "n/a", "", ""),
        "",
    ]
)
NODES = parse(TEXT)


def test_columns_are_nodes() -> None:
    assert NODES[0] == Node("main", True, "node1", "mixed", 4, 3, 2000, 1500, 2, 1, None, None)
    assert NODES[1] == Node(
        "gpu", False, "big-1", "idle", 64, 64, 512000, 512000, 6, 5, 172800.0, 60.0
    )
    assert [node.takes_jobs for node in NODES] == [True, True, False]


def test_the_default_partition_is_meant_where_none_is_named() -> None:
    assert [node.name for node in of_partition(SlurmSettings(), NODES)] == ["node1"]
    both = of_partition(SlurmSettings(partition="main,gpu"), NODES)
    assert [node.name for node in both] == ["node1", "big-1", "big-2"]


@pytest.mark.parametrize(
    ("settings", "resources", "message", "hint"),
    [
        (SlurmSettings("gpus"), UNLIMITED, "no partition `gpus`", "did you mean `gpu`"),
        (SlurmSettings("xyz"), UNLIMITED, "no partition `xyz`", "partitions: gpu, main"),
        (SlurmSettings(), Resources(gpus=3), "no node has 3 GPUs: the most is 2", "capacity"),
        (SlurmSettings("gpu"), Resources(gpus=7), "no node in `gpu` has 7 GPUs", "capacity"),
        (SlurmSettings(), Resources(gpus="all"), "a scheduler wants a number", "--gpus 1"),
        (SlurmSettings(), Resources(cpus=4.5), "has 5 processors: the most is 4", "capacity"),
        (SlurmSettings(), Resources(memory_bytes=2**31), "has 2048 MiB of memory", "capacity"),
        (SlurmSettings(), Resources(shm_bytes=2**30), "all of its node's /dev/shm", "leave out"),
        (SlurmSettings("gpu", time_s=2e5), UNLIMITED, "more than the partition's", "2880m"),
    ],
)
def test_what_no_node_has_is_said_before_it_is_submitted(
    settings: SlurmSettings, resources: Resources, message: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        require(settings, resources, NODES)
    assert message in caught.value.message
    assert hint in str(caught.value.hint)


def test_what_a_busy_node_has_is_waited_for() -> None:
    require(SlurmSettings(), Resources(gpus=2, cpus=4, memory_bytes=2000 * 2**20), NODES)
    require(SlurmSettings("gpu", time_s=172800.0), Resources(gpus=6), NODES)
    require(SlurmSettings(), Resources(time_s=1e9), NODES)


def test_a_job_that_says_nothing_has_what_its_partition_gives() -> None:
    assert usual_s(SlurmSettings(), NODES) is None
    assert usual_s(SlurmSettings("gpu"), NODES[:2]) == 60.0
    # Nodes that say nothing of it have the limit itself; which partition it will be is not known.
    assert usual_s(SlurmSettings("gpu"), NODES) == 172800.0
    assert usual_s(SlurmSettings("main,gpu"), NODES) is None
    assert usual_s(SlurmSettings("gpu"), []) is None


def test_nodes_that_were_asked_for_ahead_are_not_asked_for_again() -> None:
    asked: list[str] = []
    release = threading.Event()

    def read() -> list[Node]:
        asked.append("once")
        release.wait(60)
        return []

    nodes = Nodes(read)
    nodes.ask_ahead()
    until(lambda: asked != [])
    release.set()
    assert nodes.lately() == nodes.lately() == []
    assert asked == ["once"]


def test_a_scheduler_that_was_away_is_asked_again_by_who_tries_again() -> None:
    answers: list[PerdureError | None] = [SchedulerUnreachable("away"), None]

    def read() -> list[Node]:
        error = answers.pop(0)
        if error is not None:
            raise error
        return []

    nodes = Nodes(read)
    with pytest.raises(SchedulerUnreachable, match="away"):
        nodes.lately()
    assert nodes.lately() == []
