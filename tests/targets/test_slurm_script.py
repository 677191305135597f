from __future__ import annotations

import subprocess

import pytest

from perdure.model.job import UNLIMITED, Resources
from perdure.model.settings import SlurmSettings
from perdure.targets.slurm_script import (
    Turn,
    allocation,
    quoted,
    script,
    split_lines,
    time_limit_s,
    warning_s,
)
from tests.contract.target import HOSTILE


def turn(*command: str, grace_s: float = 30.0) -> Turn:
    return Turn(
        job="brave-otter",
        comment="perdure:0123:brave-otter",
        supervisor=("/usr/bin/python3", "-I", "main.py"),
        options=("--run-dir", "/home/me/a b"),
        command=command or ("python", "train.py"),
        grace_s=grace_s,
        first={"PATH": "/env/bin"},
        exports={"PYTHONUNBUFFERED": "1"},
    )


WHOLE = SlurmSettings(
    partition="gpu",
    account="team",
    qos="high",
    time_s=8 * 3600.0,
    lines=("#SBATCH --constraint=a100", "--exclude=node7", "ulimit -n 4096"),
    modules=("cuda/12.1", "gcc"),
)
DIRECTIVES = """\
--job-name=brave-otter
--comment=perdure:0123:brave-otter
--requeue
--open-mode=append
--export=ALL
--signal=USR2@40
--nodes=1
--ntasks=1
--partition=gpu
--account=team
--qos=high
--time=08:00:00
--gres=gpu:2
--cpus-per-task=8
--mem=32768M
--constraint=a100
--exclude=node7
"""


def test_the_script_says_all_that_is_asked_for() -> None:
    resources = Resources(gpus=2, memory_bytes=32 * 2**30, cpus=7.5)
    lines = script(turn(), WHOLE, resources).splitlines()
    assert lines[0] == "#!/bin/bash -l"
    directives = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH ")]
    assert directives == DIRECTIVES.splitlines()
    commands = [line for line in lines[1:] if line and not line.startswith("#")]
    assert commands[:5] == [
        "module load cuda/12.1 || exit 4",
        "module load gcc || exit 4",
        "ulimit -n 4096",
        'export PATH=/env/bin"${PATH:+:$PATH}"',
        "export PYTHONUNBUFFERED=1",
    ]


def test_options_come_before_the_first_command_as_sbatch_wants_them() -> None:
    settings = SlurmSettings(lines=("echo hello", "--nice"), modules=("gcc",))
    lines = script(turn(), settings, UNLIMITED).splitlines()
    last = max(at for at, line in enumerate(lines) if line.startswith("#SBATCH"))
    assert all(line.startswith("#") for line in lines[: last + 1])
    assert lines[last] == "#SBATCH --nice"


def test_what_nobody_said_is_left_to_the_cluster() -> None:
    assert allocation(SlurmSettings(), UNLIMITED) == ("--nodes=1", "--ntasks=1")
    text = script(turn(), SlurmSettings(), UNLIMITED)
    assert text.startswith("#!/bin/bash\n")
    assert "--time" not in text
    assert text == script(turn(), SlurmSettings(), UNLIMITED)


def test_a_jobs_own_time_goes_over_the_targets() -> None:
    settings = SlurmSettings(time_s=3600.0)
    assert time_limit_s(settings, UNLIMITED) == 3600.0
    assert time_limit_s(settings, Resources(time_s=60.0)) == 60.0
    assert "--time=1-00:00:00" in allocation(settings, Resources(time_s=86400.0))


def test_it_is_asked_to_save_a_little_before_its_grace() -> None:
    assert [warning_s(grace) for grace in (0.0, 0.5, 30.0)] == [10, 11, 40]


def test_lines_are_options_or_commands() -> None:
    lines = ("#SBATCH -C a100", " --nice=5", "#SBATCH", "source x.sh", "# a remark")
    assert split_lines(lines) == (["-C a100", "--nice=5", ""], ["source x.sh", "# a remark"])


@pytest.mark.parametrize("word", [*HOSTILE, "a\r\nb", "\x7f\t\\'$", "'\n'", "\\x41\n"])
def test_words_reach_bash_as_they_are_on_one_line(word: str) -> None:
    assert "\n" not in quoted(word)
    assert "\r" not in quoted(word)
    done = subprocess.run(
        ["bash", "-c", f"printf %s {quoted(word)}"], capture_output=True, timeout=120, check=True
    )
    assert done.stdout.decode() == word


def test_the_whole_is_read_by_bash() -> None:
    text = script(turn("sh", "-c", "exit 1", *HOSTILE), SlurmSettings(), UNLIMITED)
    subprocess.run(["bash", "-n"], input=text.encode(), timeout=120, check=True)
