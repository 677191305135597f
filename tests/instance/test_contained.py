"""An image that goes through a bucket from one engine to another; what a machine does with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.clouds import images
from perdure.clouds.opening import open_folder
from perdure.clouds.side import keys, log, standing
from perdure.clouds.side.bucket import Bucket
from perdure.clouds.side.order import Config, Order
from perdure.hosts.engine import Engine, find_engine
from perdure.images.ship_image import find_image
from perdure.instance import contained
from perdure.instance.program import AGAIN, run
from perdure.model.job import ImageUsed, Resources
from perdure.model.job_values import job_values
from perdure.model.report import silent
from perdure.model.settings import Settings
from perdure.moving.address import Address
from perdure.targets.protocol import Plan
from tests.engines.engines import RealEngine
from tests.images.shipping import Builder, use
from tests.instance.test_program import Machine
from tests.targets.test_invocation import JOB


@pytest.fixture
def address(tmp_path: Path) -> Address:
    return Address("file", "", str(tmp_path / "a bucket"))


@pytest.fixture
def bucket(address: Address) -> Bucket:
    return open_folder(address)


@pytest.fixture
def builder(tmp_path: Path) -> Iterator[Builder]:
    made = Builder(tmp_path / "build")
    yield made
    made.remove()


def brought(bucket: Bucket, engine: RealEngine, name: str) -> tuple[str, int]:
    """Return the id of an image that was brought into a bucket, and how many layers were sent."""
    known = engine.docker("image", "inspect", "--format", "{{.Id}}", name)
    moved = images.bring(bucket, client(engine), known, silent)
    return known, moved.sent_layers


def client(engine: RealEngine) -> Engine:
    return find_engine(Settings(), engine.environ)


def test_an_image_goes_from_one_engine_to_another(
    old_engine: RealEngine,
    modern_engine: RealEngine,
    bucket: Bucket,
    builder: Builder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, target = modern_engine, old_engine
    use(target, monkeypatch)
    known, count = brought(bucket, source, builder.build(source, "1", "packages", "code"))
    name = builder.own(target, images.called(known))
    assert count == 3
    given = (bucket, tmp_path, known, lambda: client(target), print)
    engine, called = contained.bring_image(*given)
    here, there = find_image(client(source), known), find_image(engine, called)
    assert here is not None
    assert there is not None
    assert there.is_same(here)
    target.docker("run", "--rm", "--network=none", "--pull=never", called)
    assert not (tmp_path / ".perdure/layers").exists()
    assert not source.docker("images", "--quiet", name)
    # Nothing goes over twice, and a layer more is one layer more.
    assert brought(bucket, source, known)[1] == 0
    assert contained.bring_image(*given)[1] == called
    assert brought(bucket, source, builder.build(source, "2", "packages", "code", "more"))[1] == 1


@pytest.mark.timeout(600)
def test_an_image_of_podmans_comes_to_a_machine_with_docker(
    podman_engine: RealEngine,
    old_engine: RealEngine,
    bucket: Bucket,
    builder: Builder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(podman_engine, monkeypatch)
    known, sent = brought(bucket, podman_engine, builder.build(podman_engine, "1", "packages"))
    assert sent == 2
    use(old_engine, monkeypatch)
    # Where the first `docker` is podman.
    monkeypatch.setenv("PATH", os.environ["PATH"].partition(os.pathsep)[2])
    given = (bucket, tmp_path, known, lambda: client(old_engine), print)
    called = builder.own(old_engine, contained.bring_image(*given)[1])
    old_engine.docker("run", "--rm", "--network=none", "--pull=never", called)


def ordered(bucket: Bucket, address: Address, known: str) -> Config:
    """Return the config of a machine for a job in an image."""
    image = ImageUsed("cats:1", known, 1000, 1000, pegged=True)
    used = replace(JOB.environment, image=image)
    job = replace(JOB, job="otter", environment=used, resources=Resources(gpus=1), variables={})
    bucket.put(keys.job("otter", f"{keys.FOLDER}/job.json"), b"{}")
    turn = standing.want(bucket, "otter").turn
    order = Order(turn, job_values(job), {}, 0, None, 1, ("job.json",), engine="docker")
    bucket.put(keys.job("otter", keys.START), order.text().encode())
    return Config("aws", "eu-central-1", "group", str(address), "otter", "kit")


def test_a_machine_that_goes_before_its_container_is_there_fails_nothing(
    bucket: Bucket, address: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ordered(bucket, address, "sha256:1")
    going = ("sh", "-c", f"kill -TERM {os.getpid()}; exec sleep 600", "--")
    plan = Plan("otter", tmp_path, tmp_path, going, {}, ())
    monkeypatch.setattr(contained, "bring_image", lambda *_: (None, "cats:1"))
    monkeypatch.setattr(contained, "planned", lambda *_: plan)
    machine = Machine()
    assert run(config, tmp_path / "machine", machine, print) == AGAIN
    assert machine.settled == 0
    assert standing.wanted(bucket, "otter").wanted


def test_an_engine_that_refuses_a_job_fails_it_with_its_own_words(
    old_engine: RealEngine, bucket: Bucket, builder: Builder, address: Address, tmp_path: Path
) -> None:
    known, _ = brought(bucket, old_engine, builder.build(old_engine, "1", "code"))
    builder.own(old_engine, images.called(known))
    config = ordered(bucket, address, known)
    machine = Machine()
    assert run(config, tmp_path / "machine", machine, print) == 0
    assert machine.settled == 1
    log.begin(bucket, "otter", tmp_path / "seen")
    told = (tmp_path / "seen/attempts/000001.jsonl").read_text()
    assert '"state": "FAILED"' in told
    assert "has no GPU to give" in told
    assert "device driver" in (tmp_path / "seen/supervisor.log").read_text()
