"""A job on another machine, and what a machine may do to it: processes killed, disks, clocks."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.e2e.chain import FOREVER, JOB_S, QUICK, Chain, make_chain, told
from tests.engines.hosts import Laptop
from tests.moving.trees import HOSTILE
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.timeout(JOB_S)

MANY = 10_000
HOUR_S = 3600
#: What carries a job that is followed, by what its command line says: all of it may be killed.
CARRIERS = {
    "keeper": ("laptop", "perdure.hosts.link_keeper"),
    "ssh": ("laptop", "ssh", "python3 -I -c"),
    "master": ("laptop", "[mux]"),
    "side": ("gpu1", "python3 -I -c import"),
}
#: Says the names of all files below the current folder, whatever they are called.
NAMES = """\
import json, os
found = [os.path.relpath(os.path.join(f, n), ".") for f, _, names in os.walk(".") for n in names]
print(json.dumps(sorted(os.fsencode(name).hex() for name in found)))
"""


@pytest.fixture
def chain(laptop: Laptop) -> Iterator[Chain]:
    with make_chain(laptop) as made:
        yield made


@pytest.fixture
def small(laptop: Laptop) -> Iterator[Chain]:
    """Return a project that lies there on a disk of 64 MB."""
    with make_chain(laptop, laptop.hosts.small("gpu1")) as made:
        yield made
        empty(made)


def fill(chain: Chain) -> None:
    """Leave no room on the disk of the project there."""
    chain.hosts.run("gpu1", "dd", "if=/dev/zero", f"of={chain.root.parent}/else", "bs=4k")


def empty(chain: Chain) -> None:
    """Take away what `fill` left."""
    chain.hosts.run("gpu1", "rm", "-f", f"{chain.root.parent}/else")


def test_whatever_carries_a_followed_job_may_be_killed(chain: Chain) -> None:
    steps = 600
    followed = chain.followed("one", "train", str(steps), "0.02")
    for host, *words in CARRIERS.values():
        chain.until(lambda: bool(chain.hosts.processes(host, *words)))  # noqa: B023 - called now
        for pid in chain.hosts.processes(host, *words):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.5)
    assert chain.job("one")["state"] == "RUNNING"
    said = followed.communicate(timeout=PATIENCE_S)[0].decode()
    assert followed.returncode == 0, said
    steps_told = [f"at {step}" for step in range(50, steps + 1, 50)]
    assert told(said) == ["from step 0", *steps_told, f"done at {steps}"]


def test_no_room_there_is_one_clear_error_and_the_next_try_works(small: Chain) -> None:
    fill(small)
    said = small.run("one", "train", *QUICK, code=5)
    assert "on `gpu1`" in said
    assert "no space left on device" in said
    assert "hint: perdure clean results --on gpu1" in said
    assert "Traceback" not in said
    empty(small)
    assert "done at 20" in small.run("two", "train", *QUICK)
    assert small.there("find . -name '.tmp-*'") == ""


def test_a_disk_that_gets_full_costs_the_job_no_step_that_was_saved(small: Chain) -> None:
    train = ("--seed", "7", "train", "400")
    small.run("whole", *train, "0")
    small.run("broken", "-d", *train, "0.02")
    small.until_saved("broken")
    fill(small)
    small.until(lambda: small.job("broken")["state"] in ("FAILED", "LOST"))
    saved = int(str(small.job("broken")["durable_step"]))
    assert 0 < saved < 400
    assert "No space left on device" in small.perdure("logs", "broken")
    empty(small)
    said = small.perdure("resume", "broken")
    assert f"from step {saved}" in said
    assert small.job("broken")["state"] == "SUCCEEDED"
    assert small.result("broken") == small.result("whole")


def test_a_clock_that_is_an_hour_ahead_there(chain: Chain) -> None:
    chain.hosts.clock("gpu1", HOUR_S)
    chain.perdure("targets", "--disconnect", "gpu1")
    try:
        chain.run("one", "-d", "train", *FOREVER)
        chain.until_saved("one")
        found = chain.job("one")
        assert "s ahead of" in chain.perdure("doctor", "gpu1")
        for name in ("started", "last_event_at", "asked_at"):
            assert abs(float(str(found[name])) - time.time()) < HOUR_S / 2, found
        assert "saved at step" in chain.perdure("interrupt", "one")
        chain.perdure("resume", "-d", "one")
        chain.until_state("one", "RUNNING")
        chain.perdure("kill", "one")
        assert chain.job("one")["state"] == "CANCELLED"
    finally:
        # What is connected there lives an hour later for as long as it is.
        chain.perdure("targets", "--disconnect", "gpu1")


def test_code_and_data_of_any_name(chain: Chain) -> None:
    for folder in (chain.project / "src", chain.project / "data"):
        for name in HOSTILE:
            path = folder / os.fsdecode(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name)
    (chain.project / "names.py").write_text(NAMES)
    chain.laptop.give(chain.project)
    expected = sorted((b"src/" + name).hex() for name in HOSTILE)
    lines = chain.run("one", "--", "python", "names.py").splitlines()
    found = next(json.loads(line) for line in lines if line.startswith("["))
    assert [name for name in found if bytes.fromhex(name).startswith(b"src/")] == expected
    chain.perdure("push", "data", "--on", "gpu1")
    said = json.loads(chain.there("cd data && python3 -c '" + NAMES.replace("'", "") + "'"))
    assert sorted(bytes.fromhex(each) for each in said) == sorted(HOSTILE)


def test_ten_thousand_files_in_one_folder(chain: Chain) -> None:
    for folder in (chain.project / "src" / "many", chain.project / "data" / "many"):
        folder.mkdir(parents=True)
        for number in range(MANY):
            (folder / str(number)).touch()
    chain.laptop.give(chain.project)
    program = "import os; print('there are', len(os.listdir('src/many')))"
    assert f"there are {MANY}\n" in chain.run("one", "--", "python", "-c", program)
    chain.perdure("push", "data", "--on", "gpu1")
    assert chain.there("ls data/many | wc -l") == f"{MANY}\n"
