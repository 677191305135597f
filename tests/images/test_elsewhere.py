"""Images on the engine of another host: built there, or sent; and a base image that differs."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from perdure.environments.pinned import ensure_pinned
from perdure.errors import BuildFailed, EngineUnreachable, EnvironmentFailed
from perdure.hosts.engine import Engine, find_engine
from perdure.hosts.engine_there import engine_there, settings_there
from perdure.hosts.ssh import Ssh
from perdure.images.construction import own_base
from perdure.images.elsewhere import SHIP, There, _naming, ensure_image_there
from perdure.images.failure import MIRRORS
from perdure.model.image import Stage
from perdure.model.project import Project
from perdure.model.settings import Docker, Settings
from perdure.project.decode import load_project
from tests.engines.engines import RealEngine
from tests.engines.hosts import Hosts

pytestmark = [pytest.mark.install, pytest.mark.timeout(600)]

BASE = "debian:bookworm-slim"
NOBODY = Settings(docker=Docker(endpoint="unix:///no/such/engine.sock"))
_PROJECT = """\
[project]
name = "{name}"
version = "0.1"
requires-python = ">=3.9"

[tool.perdure]
format = 1
package = "cats"
"""


@dataclass
class Yard:
    """A project, this machine's engine, gpu1's, and what is told meanwhile."""

    project: Project
    own: RealEngine
    there: There
    other: Engine

    def ensure(self, *, how: str | None = None, here: Settings | None = None) -> tuple[str, str]:
        """Return an image's tag, and what was told."""
        told: list[str] = []

        def report(message: str, *, done: int | None = None, total: int | None = None) -> None:
            told.append(message)

        there = replace(self.there, how=how, here=here or self.there.here)
        image = ensure_image_there(self.project, there, Stage.RUNTIME, report=report)
        assert self.other.inspect_image(image.tag) is not None
        return image.tag, "\n".join(told)

    def forget(self, tag: str) -> None:
        self.other.run(["image", "rm", "--force", tag], timeout_s=120)


@pytest.fixture
def yard(hosts_here: Hosts, old_engine: RealEngine, tmp_path: Path) -> Iterator[Yard]:
    hosts_here.engine("gpu1")
    root, name = tmp_path / "cats", f"cats-{secrets.token_hex(4)}"
    (root / "src" / "cats").mkdir(parents=True)
    (root / "src" / "cats" / "__init__.py").touch()
    (root / "pyproject.toml").write_text(_PROJECT.format(name=name))
    settings = settings_there(Settings(), engine_there(Ssh("gpubox", "ada@gpu1")))
    other = find_engine(settings)
    original = other.run(["image", "inspect", "--format", "{{.Id}}", BASE], timeout_s=120).text
    yield Yard(load_project(root), old_engine, There("gpubox", settings, Settings()), other)
    other.run(["image", "tag", original, BASE], timeout_s=120)
    for engine in (other, find_engine(Settings())):
        words = ["image", "ls", "--quiet", "--filter", f"reference=perdure/{name}"]
        for image in engine.run(words, timeout_s=120).text.split():
            engine.run(["image", "rm", "--force", image], timeout_s=120)


def change_base(yard: Yard) -> None:
    """Have gpu1's engine have another image under the name of the base."""
    name = f"perdure-tests-{secrets.token_hex(4)}"
    run = ["run", "--name", name, "--network=none", BASE, "touch", "/changed"]
    for words in (run, ["commit", name, BASE], ["rm", name]):
        done = yard.other.run(words, timeout_s=120)
        assert done.returncode == 0, done.complaint


def test_an_image_is_built_there_or_sent(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perdure.hosts.progress.QUIET_S", 0.0)
    tag, told = yard.ensure(here=NOBODY)
    assert "building" in told
    assert yard.ensure(here=NOBODY) == (tag, "")
    yard.forget(tag)
    # Asked for, it is built here, for the user there, and sent.
    again, told = yard.ensure(how=SHIP)
    assert again == tag
    assert "shipping to gpubox" in told
    yard.forget(tag)
    # What is here is sent without being asked for.
    assert "building" not in yard.ensure()[1]
    yard.forget(tag)
    with pytest.raises(EngineUnreachable):
        yard.ensure(how=SHIP, here=NOBODY)


@pytest.mark.long
def test_another_base_there(yard: Yard) -> None:
    lock = ensure_pinned(yard.project, Settings())
    assert lock.base is not None
    change_base(yard)
    with pytest.raises(EnvironmentFailed, match="is not the image that"):
        yard.ensure(here=NOBODY)
    # This machine's engine has the right one: it is brought there, and nothing is replaced.
    _, told = yard.ensure()
    assert f"bringing the base image {BASE} to gpubox" in told
    assert yard.other.run(["run", "--rm", BASE, "ls", "/changed"], timeout_s=120).returncode == 0
    assert yard.other.inspect_image(own_base(lock.base)) is not None
    yard.forget(own_base(lock.base))


def test_a_host_that_reaches_no_index_is_told_what_helps() -> None:
    there = There("gpubox", Settings(), Settings())
    with pytest.raises(BuildFailed) as failed, _naming(there):
        raise BuildFailed("no", hint=MIRRORS)
    assert '`images = "ship"` under `[targets.gpubox]`' in str(failed.value.hint)
    with pytest.raises(BuildFailed) as other, _naming(replace(there, how=SHIP)):
        raise BuildFailed("no", hint=MIRRORS)
    assert other.value.hint == MIRRORS
