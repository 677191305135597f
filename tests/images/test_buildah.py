"""Images as podman builds them, whose builder is buildah."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.errors import BuildFailed, EnvironmentFailed, StorageError
from perdure.hosts.engine import find_engine
from perdure.images.recipe import tiers_of
from perdure.images.tag import tag_of
from perdure.model.image import Requirement, Stage
from perdure.model.project import Step
from perdure.model.settings import Settings
from tests.engines.engines import RealEngine
from tests.images.recipes import SIX, built, inside, recipe_for, removed
from tests.images.test_build import LOOK, source_archive

pytestmark = [pytest.mark.install, pytest.mark.timeout(600)]


@pytest.fixture
def name(podman_engine: RealEngine) -> Iterator[str]:
    """Return a name for a project whose images are removed afterwards."""
    with removed(podman_engine) as found:
        yield found


def test_the_layout_is_that_of_every_engine(
    podman_engine: RealEngine, name: str, tmp_path: Path
) -> None:
    told: list[str] = []
    # Of this test alone: a step that buildah has from another test is not told.
    step = f'echo "it\'s {name}" > /opt/step'
    wanted, facts = built(
        recipe_for(project=name, steps=(Step(step),)),
        Stage.DEV,
        tmp_path / "a 'context'",
        report=lambda message, **_: told.append(message),
    )
    assert find_engine(Settings()).kind == "podman"
    assert facts.labels["perdure.stage"] == "dev"
    lines = inside(podman_engine, wanted.tag, "bash", "-c", LOOK).splitlines()
    assert lines[:3] == ["1000", "1001", "perdure"]
    assert lines[5:7] == [f"it's {name}", "/opt/dev"]
    assert lines[7:11] == ["w"] * 4
    assert "Permission denied" in lines[11]
    assert f"running the declared step 1 (`{step}`)" in told
    assert "storing the image" in told


def test_a_step_is_done_again_when_what_it_mounts_has_changed(
    podman_engine: RealEngine, name: str, tmp_path: Path
) -> None:
    """Buildah itself looks at the text of a step alone, which is the same for these two."""
    look = ("python", "-c", "import six; print(six.__version__)")
    old = replace(
        SIX,
        version="1.16.0",
        hashes=("sha256:8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254",),
    )
    found = []
    for package in (old, SIX):
        recipe = recipe_for(project=name, tiers=tiers_of([package], {}))
        wanted, _ = built(recipe, Stage.RUNTIME, tmp_path / "c")
        found.append(inside(podman_engine, wanted.tag, *look))
    assert found == ["1.16.0", "1.17.0"]


@pytest.mark.long
def test_what_has_not_changed_is_not_done_again(
    podman_engine: RealEngine, name: str, tmp_path: Path
) -> None:
    tiers = tiers_of([SIX], {})
    built(recipe_for(project=name, tiers=tiers), Stage.RUNTIME, tmp_path / "c")
    told: list[str] = []
    recipe = recipe_for(project=name, tiers=tiers, steps=(Step("true"),))
    built(recipe, Stage.RUNTIME, tmp_path / "c", report=lambda message, **_: told.append(message))
    assert "running the declared step 1 (`true`)" in told
    assert not [message for message in told if message.startswith(("making", "installing"))]


@pytest.mark.long
def test_a_wheel_that_is_built_is_built_again_for_another_source(
    podman_engine: RealEngine, name: str, tmp_path: Path
) -> None:
    found = []
    for number, value in enumerate(("7", "8")):
        archive = source_archive(tmp_path / str(number), value)
        tiny = Requirement("tiny", "1.0", (), file=archive, has_wheel=False)
        recipe = recipe_for(project=name, tiers=tiers_of([tiny], {}))
        wanted, _ = built(recipe, Stage.RUNTIME, tmp_path / "c")
        found.append(
            inside(podman_engine, wanted.tag, "python", "-c", "import tiny; print(tiny.N)")
        )
    assert found == ["7", "8"]


@pytest.mark.parametrize(
    ("step", "kind", "words"),
    [
        ("echo before; echo \"my 'last' word\" >&2; exit 9", BuildFailed, ["my 'last'", "step 2"]),
        ("head -c 9 /dev/zero > /dev/full", StorageError, ["no space left"]),
    ],
)
def test_a_step_that_fails(
    podman_engine: RealEngine,
    name: str,
    tmp_path: Path,
    step: str,
    kind: type[Exception],
    words: list[str],
) -> None:
    recipe = recipe_for(project=name, tiers={}, steps=(Step("true"), Step(step)))
    with pytest.raises(kind) as caught:
        built(recipe, Stage.RUNTIME, tmp_path / "c")
    assert all(word in str(caught.value) for word in words), caught.value
    assert find_engine(Settings()).inspect_image(tag_of(recipe, Stage.RUNTIME)) is None


def test_a_base_that_cannot_be_had(podman_engine: RealEngine, name: str, tmp_path: Path) -> None:
    recipe = recipe_for(project=name)
    nowhere = replace(recipe.base, name="127.0.0.1:9/n:1", reference="127.0.0.1:9/n:1")
    with pytest.raises(EnvironmentFailed, match=r"`127\.0\.0\.1:9/n:1` cannot be had"):
        built(replace(recipe, base=nowhere), Stage.RUNTIME, tmp_path / "c")


def test_secrets_stay_out_of_every_layer(
    podman_engine: RealEngine, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "planted-4f1d1a"
    monkeypatch.setenv("UV_INDEX_PRIVATE_PASSWORD", secret)
    # The text of a step stays in the image; this one does not have the word.
    seen = Step("grep -q planted-4f1'd'1a /run/secrets/machine && touch /opt/seen")
    recipe = recipe_for(project=name, tiers={}, steps=(seen,))
    wanted, _ = built(recipe, Stage.RUNTIME, tmp_path / "c")
    archive = tmp_path / "image.tar"
    podman_engine.docker("save", "--output", str(archive), wanted.tag)
    assert inside(podman_engine, wanted.tag, "ls", "/opt/seen") == "/opt/seen"
    assert secret.encode() not in archive.read_bytes()
