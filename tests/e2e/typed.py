"""What a user of a cluster types and sees, whichever cluster it is."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

from tests.cli.command import MAIN, perdure
from tests.waiting import PATIENCE_S, until


def states(project: Path) -> dict[str, str]:
    """Return where the project's jobs stand."""
    done = perdure("ps", "-a", "--json", cwd=project)
    return {each["job"]: each["state"] for each in json.loads(done.out)}


def until_running(project: Path, job: str) -> None:
    """Return once a job has made three steps."""

    def there() -> bool:
        done = perdure("ps", "-a", "--json", cwd=project)
        steps = {each["job"]: each["step"] for each in json.loads(done.out or "[]")}
        return (steps.get(job) or 0) >= 3

    until(there, every_s=0.1)


def stop_by_ctrl_c(project: Path, target: str, job: str) -> None:
    """Follow a job, and stop it with Ctrl-C once it trains: it has saved then."""
    words = ("run", "--on", target, "--name", job, "train", "100", "0.1")
    process = subprocess.Popen(
        [*MAIN, *words], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while not (project / "results" / job / "job.json").exists():
        time.sleep(0.05)
    until_running(project, job)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 75, err
    assert f"go on: perdure resume {job}".encode() in err
    assert states(project) == {job: "INTERRUPTED"}


def resume(project: Path, job: str) -> None:
    """Resume a job, and follow it to its end."""
    resumed = perdure("resume", job, cwd=project)
    assert resumed.code == 0, resumed.err
    assert "goes on from step" in resumed.err
