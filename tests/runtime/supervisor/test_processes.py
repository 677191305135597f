from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.runtime.supervisor import processes
from tests.runtime.supervisor.harness import alive
from tests.waiting import until


@pytest.fixture
def sleeper(run_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group and session of its own that carries the run folder."""
    environ = {**os.environ, "PERDURE_RUN_DIR": str(run_dir)}
    process = subprocess.Popen(["sleep", "99"], env=environ, start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_a_process_is_found_by_its_group_and_by_what_it_carries(
    sleeper: subprocess.Popen[bytes], run_dir: Path
) -> None:
    # Between fork and exec its environment is still the parent's.
    until(lambda: processes.belonging(None, str(run_dir)))
    assert processes.belonging(None, str(run_dir)) == [sleeper.pid]
    assert processes.belonging(sleeper.pid, "/other") == [sleeper.pid]
    assert processes.belonging(None, str(run_dir) + "x") == []
    assert processes.belonging(None, str(run_dir)[:-1]) == []


def test_one_with_a_group_of_its_own_and_no_variables_is_found_by_its_session() -> None:
    script = "import os, time; os.fork() or (os.setpgid(0, 0), time.sleep(99)); time.sleep(99)"
    words = [sys.executable, "-I", "-S", "-c", script]
    leader = subprocess.Popen(words, env={}, start_new_session=True)
    until(lambda: len(processes.belonging(leader.pid, "/other")) == 2)
    leader.kill()
    leader.wait()
    (left,) = processes.belonging(leader.pid, "/other")
    assert os.getpgid(left) == left
    os.kill(left, signal.SIGKILL)


def test_a_zombie_is_nobody(sleeper: subprocess.Popen[bytes]) -> None:
    sleeper.kill()
    until(lambda: not alive(sleeper.pid))
    assert processes.belonging(sleeper.pid, "/other") == []


def test_this_process_and_its_ancestors_are_spared(run_dir: Path) -> None:
    ask = (
        "import os, sys; sys.path.append(sys.argv[1])\n"
        "from perdure.runtime.supervisor import processes\n"
        "print(processes.belonging(os.getpgid(0), os.environ['PERDURE_RUN_DIR']))"
    )
    root = str(Path(processes.__file__).parents[3])
    shell = 'sleep 99 & "$@"; kill $!'
    command = ["sh", "-c", shell, "sh", sys.executable, "-I", "-S", "-c", ask, root]
    environ = {**os.environ, "PERDURE_RUN_DIR": str(run_dir)}
    found = subprocess.run(
        command, env=environ, capture_output=True, text=True, start_new_session=True
    )
    assert len(found.stdout.strip("[]\n").split(",")) == 1  # the sleep, neither shell nor itself
    assert found.stdout != "[]\n"


def test_without_proc_the_group_stands_for_its_members(
    sleeper: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    proc = str(tmp_path)
    assert processes.belonging(sleeper.pid, "/other", proc) == [-sleeper.pid]
    assert processes.belonging(None, "/other", proc) == []
    processes.send([-sleeper.pid], signal.SIGKILL)
    sleeper.wait()
    assert processes.belonging(sleeper.pid, "/other", proc) == []
    assert processes.start_ticks(sleeper.pid, proc) is None
    assert processes.boot(proc) is None


def test_who_is_gone_can_be_signalled(sleeper: subprocess.Popen[bytes]) -> None:
    sleeper.kill()
    sleeper.wait()
    processes.send([sleeper.pid, -sleeper.pid], signal.SIGTERM)


def test_a_name_may_hold_anything(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    for pid, state in [(7, "S"), (8, "Z"), (9, "R")]:
        (tmp_path / str(pid)).mkdir()
        fields = f"{pid} (a) b) Z 1 (\n) {state} 1 70 70 " + " ".join("0" * 15) + " 4321"
        (tmp_path / str(pid) / "stat").write_text(fields)
    (tmp_path / "10").mkdir()  # gone between the listing and the look
    (tmp_path / "9" / "environ").write_bytes(b"A=1\0PERDURE_RUN_DIR=/r\nx\0")
    proc = str(tmp_path)
    assert sorted(processes.belonging(70, "/other", proc)) == [7, 9]
    assert processes.belonging(None, "/r\nx", proc) == [9]
    assert processes.start_ticks(7, proc) == 4321


def test_this_machine() -> None:
    assert processes.start_ticks(os.getpid())
    assert processes.boot()
