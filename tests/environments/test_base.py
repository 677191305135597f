from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from perdure.environments.base import _reference, find_base
from perdure.errors import EnvironmentFailed
from perdure.hosts.engine import Engine, ImageFacts, find_engine
from perdure.model.settings import Settings
from tests.engines.engines import RealEngine
from tests.environments.told import Told

BASE = "debian:bookworm-slim"


def test_a_base_is_known_by_what_is_in_it(engine: RealEngine) -> None:
    told = Told()
    base, platform = find_base(find_engine(Settings()), BASE, report=told)
    assert base.name == BASE
    assert base.release == "bookworm"
    assert base.python is not None
    assert base.python.startswith("3.11.")
    assert len(base.layers) == 64
    assert platform.startswith("linux/")
    # The name that every engine can find it by; the containerd store has a digest of its own.
    assert base.reference.split("@")[0] == BASE
    assert told.messages == []


def test_a_base_that_cannot_be_had_is_told(engine: RealEngine) -> None:
    name = "127.0.0.1:9/nobody/is-here:1"
    told = Told()
    with pytest.raises(EnvironmentFailed, match=f"base image `{name}` cannot be had") as caught:
        find_base(find_engine(Settings()), name, report=told)
    assert "`docker login`" in (caught.value.hint or "")
    assert told.messages == [f"pulling the base image {name}"]


def test_a_base_for_another_machine_is_not_taken_for_it(old_engine: RealEngine) -> None:
    with pytest.raises(EnvironmentFailed, match=r"for linux/s390x cannot be had"):
        find_base(find_engine(Settings()), BASE, "linux/s390x")


@pytest.fixture
def other(old_engine: RealEngine, tmp_path: Path) -> Iterator[str]:
    """Return an image that has a shell, and no apt-get."""
    tag = f"perdure-test-{uuid4().hex[:8]}"
    old_engine.docker("run", "--name", tag, BASE, "rm", "/usr/bin/apt-get")
    old_engine.docker("commit", tag, tag)
    old_engine.docker("rm", tag)
    yield tag
    old_engine.docker("rmi", tag)


def test_a_base_that_is_no_debian_is_refused(other: str) -> None:
    with pytest.raises(EnvironmentFailed, match="has no apt-get: it is debian") as caught:
        find_base(find_engine(Settings()), other)
    assert 'base = "debian:bookworm-slim"' in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("name", "digests", "reference"),
    [
        ("debian:12", ("debian@sha256:1",), "debian:12@sha256:1"),
        ("debian", ("docker.io/library/debian@sha256:1",), "debian@sha256:1"),
        ("team/base:1", ("docker.io/team/base@sha256:1",), "team/base:1@sha256:1"),
        ("localhost:5000/b:1", ("debian@sha256:2", "localhost:5000/b@sha256:1"), None),
        ("debian:12", (), "debian:12"),
        ("debian:12", ("other@sha256:1",), "debian:12"),
        ("debian:12@sha256:1", ("debian@sha256:1",), "debian:12@sha256:1"),
    ],
)
def test_the_digest_of_a_registry_is_in_the_reference(
    name: str, digests: tuple[str, ...], reference: str | None
) -> None:
    nobody = Engine("/nowhere/docker", {}, "docker", "")
    facts = ImageFacts("sha256:id", (), digests, 0, {}, "linux/amd64")
    assert _reference(nobody, name, facts) == (reference or f"{name}@sha256:1")
