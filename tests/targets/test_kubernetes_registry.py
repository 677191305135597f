"""A project's own image, built and pushed at submission: pods have it by its digest."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdure.errors import UsageError
from perdure.images import build
from perdure.jobs.launch import JobRequest, begin, explain, submit
from perdure.jobs.workspace import Workspace
from perdure.model.image import Image, ImageUser, Stage
from perdure.model.job import State
from perdure.targets import shelf
from perdure.targets.registry import open_target
from tests.engines.engines import RealEngine
from tests.engines.kubernetes import Cluster
from tests.engines.small import small_image
from tests.targets.kubernetes_project import (  # noqa: F401 - some are fixtures
    NAME,
    forgotten,
    one_project,
    with_cluster,
    with_settings,
)
from tests.targets.slurm_project import until_gone
from tests.waiting import until

REGISTRY = Path(__file__).resolve().parents[1] / "engines" / "registry"
#: On a node: what comes in at a port of its loopback leads to a socket in a folder that it shares.
NODE_SIDE = """\
import asyncio, sys
async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writer.close()
async def serve(near_reader, near_writer):
    if sys.argv[1] == "node":
        far = await asyncio.open_unix_connection(sys.argv[3])
    else:
        far = await asyncio.open_connection("127.0.0.1", int(sys.argv[2]))
    await asyncio.gather(pump(near_reader, far[1]), pump(far[0], near_writer))
async def main():
    if sys.argv[1] == "node":
        server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[2]))
    else:
        server = await asyncio.start_unix_server(serve, sys.argv[3])
    await server.serve_forever()
asyncio.run(main())
"""


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def registry(kubernetes: Cluster, tmp_path: Path) -> Iterator[str]:
    """Return the address of a registry on loopback: this machine's, and that of both nodes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    line = str(kubernetes.state / "registry.socket")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(line)  # noqa: PTH108 - of an earlier test
    relay = [sys.executable, "-c", NODE_SIDE]
    commands = [
        [str(REGISTRY), str(tmp_path / "registry"), port],
        [*relay, "here", port, line],
        *(["ip", "netns", "exec", f"pk-node{n}", *relay, "node", port, line] for n in (1, 2)),
    ]
    with contextlib.ExitStack() as after:
        for argv in commands:
            log = after.enter_context((tmp_path / "log").open("ab"))
            process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
            after.callback(process.wait, 10)
            after.callback(os.killpg, process.pid, signal.SIGTERM)
        until(lambda: answers(int(port)))
        yield f"127.0.0.1:{port}"


@pytest.fixture
def pushing(
    workspace: Workspace,
    registry: str,
    modern_engine: RealEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> Workspace:
    """Return the project with a target that takes its image from the registry: a small one."""
    used = small_image(modern_engine)
    image = Image(used.tag, used.id, Stage.RUNTIME, None, ImageUser(1000, 1000))
    monkeypatch.setattr(build, "ensure_image", lambda *_, **__: image)
    return with_settings(workspace, image="", registry=f"{registry}/team/cats")


def test_what_runs_was_pushed_before_and_is_named_by_its_digest(
    pushing: Workspace, registry: str, kubernetes: Cluster
) -> None:
    target = open_target(NAME, pushing.project, pushing.settings)
    with pytest.raises(UsageError, match="no image of this project was pushed"):
        target.place.host.call(shelf.cores)
    assert "not-pushed-yet" in explain(pushing, JobRequest("train", ("5", "0"), target=NAME))
    command = ("python3", "-c", "print('pushed')")
    record = submit(pushing, JobRequest(command=command, seed=7, retries=0, target=NAME))
    begin(pushing, record)
    assert until_gone(record).state is State.SUCCEEDED
    assert (record.folder / "logs" / "000001.log").read_text() == "pushed\n"
    (job,) = kubernetes.listed("jobs")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    name, _, contents = container["image"].partition("@")
    assert name == f"{registry}/team/cats"
    assert contents.startswith("sha256:")
    assert record.environment.image is not None
    assert record.environment.image.tag == container["image"]
