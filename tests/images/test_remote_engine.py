"""An engine on another machine: it builds and ships, and cannot mount this machine's folders.

Reached over loopback, as only the folders of an engine that is really elsewhere would differ.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from perdure.errors import EngineUnreachable, TimeoutExpired
from perdure.hosts import engine as engines
from perdure.hosts.engine import find_engine
from perdure.model.image import Stage
from perdure.model.project import Step
from perdure.model.settings import Settings
from tests.cli.command import Ended, is_one_error
from tests.engines.engines import RealEngine
from tests.engines.hosts import Hosts
from tests.engines.relay import tcp_relay
from tests.engines.user import OrdinaryUser
from tests.images.recipes import built, recipe_for, removed
from tests.images.test_build import PYPROJECT

pytestmark = [pytest.mark.install, pytest.mark.timeout(600)]

FOLDERS = "cannot be mounted there", "does not see this machine's folders"


@dataclass
class Far:
    """A user's project, and how an engine is reached by tcp or as a context of Docker's."""

    user: OrdinaryUser
    project: Path
    address: str
    variables: dict[str, str]

    def perdure(self, *words: str, **variables: str) -> Ended:
        """Return how `perdure WORDS...` ended."""
        return self.user.perdure(*words, cwd=self.project, env={**self.variables, **variables})


@pytest.fixture
def far(engine: RealEngine, as_user: OrdinaryUser) -> Iterator[Far]:
    """Return a project of an ordinary user, with each engine in turn as one elsewhere."""
    relay, address = tcp_relay(engine.variables["DOCKER_HOST"].removeprefix("unix://"))
    project = as_user.home / "a 'project'"
    (project / "src" / "cats").mkdir(parents=True)
    (project / "src" / "cats" / "__init__.py").touch()
    with removed(engine) as name:
        (project / "pyproject.toml").write_text(PYPROJECT.format(name=name))
        as_user.give(as_user.home)
        variables = {
            "DOCKER_CONFIG": str(as_user.home / ".docker"),
            **as_user.leading_to(engine),
            "DOCKER_HOST": address,
        }
        yield Far(as_user, project, address, variables)
    relay.cut()


def context_of(far: Far, engine: RealEngine) -> dict[str, str]:
    """Return the variables that lead to the same engine by the name of a context."""
    words = ["context", "create", "far", "--docker", f"host={far.address}"]
    made = far.user.run(engine.client, *words, env=far.variables)
    assert made.code == 0, made
    return {"DOCKER_HOST": "", "DOCKER_CONTEXT": "far"}


@pytest.mark.parametrize(
    "engine", ["old", pytest.param("modern", marks=pytest.mark.long)], indirect=True
)
def test_it_builds_and_ships_and_mounts_nothing(far: Far, engine: RealEngine) -> None:
    built = far.perdure("build")
    assert built.code == 0, built
    tag = built.out.strip()
    assert engine.docker("image", "inspect", "--format", "{{.Config.User}}", tag) == "1000:1000"
    for variables in ({}, context_of(far, engine)):
        again = far.perdure("build", **variables)
        assert (again.code, again.out.strip(), "building" in again.err) == (0, tag, False), again
        told = far.perdure("doctor", "--json", **variables)
        assert far.address in told.out, told
        refused = far.perdure("run", "--on", "docker", "--", "true", **variables)
        assert is_one_error(refused, 4, far.address, FOLDERS[0], "--on local")
        assert is_one_error(far.perdure("up", **variables), 4, far.address, FOLDERS[1])
    shipped = far.perdure("ship", tag, "--to", str(far.project / "x.tar"))
    assert shipped.code == 0, shipped
    assert (far.project / "x.tar").stat().st_size > 10_000_000
    shown = far.perdure("env", "show")
    assert f"{tag}  (built" in shown.out, shown


def test_a_context_that_is_not_there(old_engine: RealEngine, tmp_path: Path) -> None:
    environ = {**os.environ, "DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "nowhere"}
    del environ["DOCKER_HOST"]
    for program in ("/usr/bin", environ["PATH"]):
        with pytest.raises(EngineUnreachable, match="has no context `nowhere`") as caught:
            find_engine(Settings(), {**environ, "PATH": program})
        assert "docker context ls" in str(caught.value.hint)
        assert "--on local" in str(caught.value.hint)
    (tmp_path / "config.json").write_text(json.dumps({"currentContext": "gone"}))
    with pytest.raises(EngineUnreachable, match="has no context `gone`"):
        find_engine(Settings(), {**environ, "DOCKER_CONTEXT": ""})


def test_an_engine_that_does_not_answer_is_given_up(
    old_engine: RealEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "REACH_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("DOCKER_HOST", address)
        with pytest.raises(TimeoutExpired, match=r"did not answer within 0\.5 s") as caught:
            find_engine(Settings())
    assert address in caught.value.message
    assert "--on local" in str(caught.value.hint)


@pytest.mark.long
def test_over_ssh_images_are_built_too(
    hosts_here: Hosts, old_engine: RealEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts_here.engine("gpu1")
    monkeypatch.setenv("DOCKER_HOST", "ssh://gpu1")
    found = find_engine(Settings())
    assert (found.endpoint, found.is_local()) == ("ssh://gpu1", False)
    assert found.run(["info", "--format", "{{.Name}}"], timeout_s=120).text == "gpu1"
    with removed(old_engine) as name:
        recipe = recipe_for(project=name, tiers={}, steps=(Step("uname -n"),))
        _, facts = built(recipe, Stage.RUNTIME, tmp_path / "c")
    assert facts.labels["perdure.stage"] == "runtime"
