"""An engine that is killed under a running job: the job runs on, or is lost, and always goes on."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.errors import EngineUnreachable
from perdure.jobs import folder as folders
from perdure.jobs.control import kill
from perdure.jobs.launch import resume, start
from perdure.jobs.lifecycle import read_status
from perdure.model.job import State
from tests.engines.engines import OLD, RealEngine
from tests.engines.own import OwnEngine, own_engine
from tests.engines.small import BASE
from tests.jobs.contained import Yard, make_yard
from tests.jobs.projects import FOREVER, until_state, until_step
from tests.waiting import until

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can start an engine")


@pytest.fixture
def own(old_engine: RealEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnEngine]:
    # A socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="own-") as folder, own_engine(Path(folder)) as engine:
        save = subprocess.Popen([OLD.client, "save", BASE], env=OLD.environ, stdout=subprocess.PIPE)
        assert save.stdout is not None
        subprocess.run([OLD.client, "load"], env=engine.real.environ, stdin=save.stdout, check=True)
        save.stdout.close()
        assert save.wait() == 0
        for name, value in engine.real.variables.items():
            monkeypatch.setenv(name, value)
        yield engine


@pytest.fixture
def yard(tmp_path: Path, own: OwnEngine, monkeypatch: pytest.MonkeyPatch) -> Yard:
    return make_yard(tmp_path / "a project", own.real, monkeypatch)


def test_a_job_outlives_its_engine_or_goes_on_after_it(yard: Yard, own: OwnEngine) -> None:
    record = yard.submit("python", "train.py", FOREVER)
    start(yard.workspace, record)
    until_step(record)
    own.kill()
    # Its container needs the engine for nothing; another one cannot be had.
    step = read_status(record.folder).step or 0
    until(lambda: (read_status(record.folder).step or 0) > step)
    with pytest.raises(EngineUnreachable, match="no container engine answers"):
        start(yard.workspace, yard.shell("true"))
    # A new daemon ends what the one before it had started, unless it is told to let it live.
    own.start()
    status = until_state(record, State.LOST, State.INTERRUPTED)
    until(lambda: not folders.is_alive(record.folder))
    resume(yard.workspace, record)
    until(lambda: read_status(record.folder).attempt > status.attempt)
    status = until_step(record)
    assert not status.began_again
    assert kill(record.folder, timeout_s=120) == "confirmed"
