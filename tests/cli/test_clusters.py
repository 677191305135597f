from __future__ import annotations

from perdure.cli.clusters import capacity_table, queue_table
from perdure.targets.slurm_listing import parse_queue

TEXT = (
    "12|ada|gpu|RUNNING|None|1-02:00:05|2-00:00:00|1|8|gres:gpu:2|node2|perdure:ab:brave-otter|x\n"
    "13|eve|gpu|PENDING|(Priority)|0:00|UNLIMITED|1|4|N/A||(null)|a|b\n"
    "torn\n"
)


def test_a_queue_is_a_table_with_reasons() -> None:
    jobs = parse_queue(TEXT, "ada")
    assert [(job["job"], job["name"], job["mine"]) for job in jobs] == [
        ("brave-otter", "x", True),
        (None, "a|b", False),
    ]
    assert (jobs[0]["elapsed_s"], jobs[0]["limit_s"]) == (93605.0, 172800.0)
    assert (jobs[1]["elapsed_s"], jobs[1]["limit_s"]) == (0.0, None)
    rows = queue_table(jobs).rows
    assert rows[0][:5] == ("12", "brave-otter", "ada", "gpu", "RUNNING")
    assert rows[1][4] == "PENDING (Priority)"


def test_partitions_are_a_table() -> None:
    partition = {
        "partition": "gpu",
        "default": True,
        "limit_s": 3600.0,
        "nodes": 4,
        "nodes_up": 3,
        "nodes_idle": 1,
        "gpus": 16,
        "gpus_free": 5,
        "gpus_free_on_one": 4,
        "cpus": 256,
        "cpus_free": 100,
        "cpus_free_on_one": 64,
        "memory_mib_on_one": 512000,
        "memory_mib_free_on_one": 1024,
    }
    (row,) = capacity_table([partition]).rows
    assert row[0] == "gpu*"
    assert row[2:8] == ("3 of 4", "1", "5 of 16", "4", "100 of 256", "64")
