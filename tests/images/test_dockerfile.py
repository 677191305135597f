"""A Dockerfile: the same bytes each time, for the oldest engine, each layer on its own."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.images.dockerfile import plan, render
from perdure.images.recipe import Recipe, tiers_of
from perdure.images.requirements import groups
from perdure.model.image import CondaPackage, PythonSource, Requirement, Stage, Tier
from perdure.model.project import Step
from tests.images.recipes import GOMP, INICONFIG, MARKUPSAFE, RECIPE, SIX

EVERYTHING = replace(
    RECIPE,
    tiers=tiers_of(
        [
            SIX,
            MARKUPSAFE,
            replace(INICONFIG, name="built", has_wheel=False, marker="python_version < '4'"),
            Requirement("torch", "2.0", ("sha256:00",), index="https://127.0.0.1:9/cpu"),
            Requirement("own", "1", ("sha256:01",), file=Path("/x/own-1+a b-py3-none-any.whl")),
        ],
        {"torch": Tier.HEAVY, "markupsafe": Tier.MID, "built": Tier.MID},
    ),
    apt={"runtime": (GOMP,), "build": (GOMP,), "dev": (GOMP,)},
    conda=(CondaPackage("python", "3.11.9", "0", "file:///c/python.conda", "cd" * 32),),
    steps=(Step("echo 'a' \"$b\"\ncat <<EOF \\"), Step("make", "build"), Step("true", "dev")),
)


def runs(text: str) -> list[str]:
    return [each for each in re.split(r"\n(?=[A-Z]+ )", text) if each.startswith("RUN ")]


@pytest.mark.parametrize("recipe", [RECIPE, EVERYTHING], ids=["plain", "everything"])
@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("pegged", [True, False])
def test_it_is_for_the_oldest_engine_and_says_what_is_built(
    recipe: Recipe, stage: Stage, pegged: bool
) -> None:
    text = render(recipe, stage, pegged=pegged)
    assert text == render(recipe, stage, pegged=pegged)
    assert not re.search(r"^(?:#\s*syntax|ARG |ADD |COPY )", text, re.MULTILINE)
    assert "--link" not in text
    # A heredoc is one only outside of JSON, and on an engine that knows them.
    assert "<<" not in "".join(line for line in text.splitlines() if "/bin/sh" not in line)
    named = re.findall(r"^FROM (\S+) AS (\S+)$", text, re.MULTILINE)
    assert named[0] == ("debian:bookworm-slim", "base")
    assert named[-1][1] == ("pegged" if pegged else stage.value)
    secrets = set(re.findall(r"type=secret,[^ ]*", text))
    assert all("required" not in each for each in secrets)


def test_a_layer_depends_on_its_own_packages_alone() -> None:
    more = replace(RECIPE, tiers=tiers_of([SIX, MARKUPSAFE, INICONFIG], {"markupsafe": Tier.MID}))
    assert render(more, Stage.RUNTIME) == render(RECIPE, Stage.RUNTIME)
    (group,) = groups("light", more.tiers[Tier.LIGHT])
    assert "iniconfig" in group.text()
    for tier in Tier:
        for step in runs(render(EVERYTHING, Stage.DEV)):
            if f"source={tier.value}.txt" in step:
                others = [each.value for each in Tier if each is not tier]
                assert not any(f"source={other}" in step for other in others)


def test_an_empty_tier_and_no_debian_packages_have_no_step() -> None:
    text = render(RECIPE, Stage.RUNTIME)
    assert "heavy" not in text
    assert "apt" not in text
    assert len(runs(text)) == 4  # the environment, mid, light, the user
    empty = runs(render(replace(RECIPE, tiers={}), Stage.RUNTIME))
    assert len(empty) == 3  # the environment, the user, the project
    assert "uv pip install" not in empty[-1]


def test_one_step_knows_the_user_and_only_light_packages_come_after_it() -> None:
    one, other = (
        render(replace(EVERYTHING, user=replace(RECIPE.user, user_id=number)), Stage.RUNTIME)
        for number in (4242, 4243)
    )
    same = [a for a, b in zip(runs(one), runs(other), strict=True) if a == b]
    assert len(same) == len(runs(one)) - 1
    assert "4242" not in "".join(same)
    text = render(RECIPE, Stage.RUNTIME)
    *_, mid, user, light = runs(text)
    assert [name in step for name, step in (("mid.txt", mid), ("useradd", user))] == [True, True]
    assert "light.txt" in light
    assert text.index("WORKDIR") < text.index("light.txt")
    # One more dependency changes what the project says that it needs: one step, the last.
    assert [each for each in runs(text) if "/installed/" in each] == [light]


def test_a_step_that_is_declared_is_handed_over_as_it_is() -> None:
    (step,) = [each for each in runs(render(EVERYTHING, Stage.RUNTIME)) if "cat <<EOF" in each]
    words = json.loads(step[step.index("[") :])
    assert words[:2] == ["/bin/sh", "-euc"]
    assert EVERYTHING.steps[0].run in words[2]
    assert "\n" not in step[step.index("[") :]


def test_each_stage_has_its_own_steps_and_packages() -> None:
    dev = render(EVERYTHING, Stage.DEV)
    wheels, runtime, development = re.split(
        r"^FROM base AS wheels$|^FROM base AS runtime$"
        r"|^FROM runtime AS dev$",
        dev,
        flags=re.MULTILINE,
    )[1:]
    assert "make" in wheels
    assert "source=apt-build.txt" in wheels
    assert "pip wheel" in wheels
    assert "from=wheels,source=/wheels/mid" in runtime
    assert "'built==2.3.1 ; python_version < \"4\"'" in runtime
    assert "source=apt-dev.txt" in development
    assert "FROM runtime AS dev" not in render(EVERYTHING, Stage.RUNTIME)


def test_another_index_is_asked_alone() -> None:
    (step,) = [each for each in runs(render(EVERYTHING, Stage.RUNTIME)) if "heavy" in each]
    assert "--default-index 'https://127.0.0.1:9/cpu'" in step
    assert "env -u UV_INDEX" in step
    first, second = groups("mid", [SIX, replace(SIX, index="https://127.0.0.1:9/x")])
    assert (first.file, first.index) == ("mid.txt", None)
    assert (second.file, second.index) == ("mid-2.txt", "https://127.0.0.1:9/x")


def test_requirements_name_hashes_markers_and_files() -> None:
    own = EVERYTHING.tiers[Tier.LIGHT][0]
    assert own.name == "own"
    (group,) = groups("light", [own, replace(SIX, marker="os_name == 'posix'")])
    assert group.text().splitlines() == [
        "own @ file:///run/perdure/wheels/own-1%2Ba%20b-py3-none-any.whl \\",
        "    --hash=sha256:01",
        "six==1.17.0 ; os_name == 'posix' \\",
        f"    --hash={SIX.hashes[0]}",
    ]
    (direct,) = groups("light", [replace(SIX, url="https://127.0.0.1:9/six.whl")])
    assert direct.text().startswith("six @ https://127.0.0.1:9/six.whl \\\n")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (PythonSource.BASE, "--python 3.11.2 --no-managed-python /opt/venv"),
        (PythonSource.APT, "--python 3.11.2 --no-managed-python /opt/venv"),
        (PythonSource.UV, "uv python install --no-bin 3.11.2"),
    ],
)
def test_python_comes_from_where_the_lock_says(source: PythonSource, words: str) -> None:
    assert words in render(replace(RECIPE, python_source=source), Stage.RUNTIME)


def test_conda_brings_its_own_python() -> None:
    text = render(EVERYTHING, Stage.DEV)
    assert "--python /opt/conda-env/bin/python --system-site-packages /opt/venv" in text
    assert "PATH=/opt/venv/bin:/opt/conda-env/bin:$PATH" in text


def test_every_step_says_what_it_does_and_what_it_is_for() -> None:
    for section in plan(EVERYTHING, Stage.DEV, pegged=True):
        for number, each in section.numbered():
            assert number > 0
            assert each.doing
            assert not each.doing.endswith(".")
    origins = {each.origin for s in plan(EVERYTHING, Stage.DEV) for _, each in s.numbered()}
    assert "`dependencies` and the extra `cpu` in pyproject.toml" in origins
    assert "step 1 of `[[tool.perdure.environment.steps]]` in pyproject.toml" in origins
    plain = plan(replace(RECIPE, variant=None), Stage.RUNTIME)
    assert "`dependencies` in pyproject.toml" in {
        each.origin for s in plain for _, each in s.numbered()
    }
