from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.errors import HostUnreachable
from perdure.jobs.workspace import Workspace
from perdure.model.project import Project
from perdure.model.settings import Settings
from perdure.services import forwards, listing
from perdure.services.side import desk, record

LIVING = {
    "name": "files",
    "state": "running",
    "port": 7,
    "path": "/",
    "age_s": 1.0,
    "idle_s": 1.0,
    "limit_s": 9.0,
    "lifetime_s": 99.0,
    "said": {},
}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(Project(tmp_path, "p", "p", {}), Settings())


@pytest.fixture
def led(workspace: Workspace) -> Iterator[None]:
    """Keep a forward to each of three hosts, the processes of which seem to live."""
    held = []
    for number, target in enumerate(("gpu1", "gpu2", "gpu3")):
        folder = forwards.folder_of(workspace.project, target, "files")
        desk.prepare(folder)
        spec = {"name": "files", "target": target, "destination": target, "root": "/r"}
        record.write(folder / record.SPEC, json.dumps({**spec, "port": 8800 + number}))
        held.append(record.take_lock(folder))
    yield
    for each in held:
        assert each is not None
        os.close(each)


@pytest.mark.usefixtures("led")
def test_a_host_that_says_nothing_keeps_nobody_waiting(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence = threading.Event()

    def ask(target: str, destination: str, root: str) -> list[dict[str, object]]:
        if target == "gpu1":
            silence.wait()
        if target == "gpu2":
            raise HostUnreachable("cannot reach `gpu2`")
        return [dict(LIVING)]

    monkeypatch.setattr(listing, "_ask", ask)
    found = {each.target: each for each in listing.services_of(workspace, 1.0)}
    silence.set()
    assert found["gpu1"].problem == "`gpu1` does not answer"
    assert (found["gpu1"].state, found["gpu1"].port) == ("not reached", 8800)
    assert found["gpu2"].problem == "cannot reach `gpu2`"
    assert (found["gpu3"].problem, found["gpu3"].state, found["gpu3"].port) == (
        None,
        "running",
        8802,
    )
    assert {each["target"] for each in forwards.known(workspace.project)} == {
        "gpu1",
        "gpu2",
        "gpu3",
    }
