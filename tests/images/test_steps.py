"""What an engine prints of a build, and what is told of it. The lines are BuildKit's own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perdure.errors import BuildFailed, EngineUnreachable, EnvironmentFailed, StorageError
from perdure.images.dockerfile import plan
from perdure.images.failure import failure
from perdure.images.steps import Steps
from perdure.model.image import Stage
from perdure.model.report import silent
from tests.images.recipes import GOMP, RECIPE

PLAN = plan(replace(RECIPE, apt={"runtime": (GOMP,)}), Stage.RUNTIME)


def told(*lines: str) -> tuple[Steps, list[str]]:
    messages: list[str] = []
    steps = Steps(PLAN, lambda message, **_: messages.append(message))
    for line in lines:
        steps(line)
    return steps, messages


def test_each_step_is_told_in_words_but_those_that_are_done_already() -> None:
    _, messages = told(
        "#1 [internal] load build definition from Dockerfile",
        "#1 DONE 0.0s",
        "#4 [base 1/3] FROM docker.io/library/debian:bookworm-slim",
        "#4 CACHED",
        "#5 [base 2/3] RUN --mount=type=tmpfs,target=/run set -eu",
        "#5 CACHED",
        "#6 [base 3/3] RUN --mount=type=tmpfs,target=/run set -eu",
        "#6 0.202 Using Python 3.11",
        "#6 DONE 1.0s",
        "#7 [runtime 2/4] RUN --mount",
        "#7 CACHED",
        "#8 [linux/amd64 runtime 4/4] RUN --mount",
        "#8 0.1 Resolved 1 package",
        "#9 exporting to image",
        "#9 exporting layers 0.1s done",
    )
    assert messages[:2] == [
        "making a virtual environment of Python 3.11.2",
        "installing the light packages (six) and the project",
    ]
    assert set(messages[2:]) == {"storing the image"}


def failed(*lines: str) -> Exception:
    steps, _ = told(*lines)
    return failure(RECIPE, steps, 1, "unix:///engine.sock")


START = "#5 [base 2/3] RUN --mount=type=tmpfs,target=/run set -eu"


def test_a_step_that_fails_is_quoted_with_what_it_was_for() -> None:
    error = failed(
        "#7 [runtime 4/4] RUN --mount",
        "#7 0.200 https://me:secret@127.0.0.1:9/simple has no such thing",
        *(f"#7 1.{number:03} line {number}" for number in range(40)),
        "#7 ERROR: executor failed running [/bin/sh -c set -eu]: exit code: 1",
        "------",
        " > [runtime 4/4] RUN --mount:",
    )
    assert isinstance(error, BuildFailed)
    assert error.exit_code == 4
    assert "installing the light packages (six) and the project" in error.message
    assert "`dependencies` and the extra `cpu` in pyproject.toml" in error.message
    assert error.message.endswith("line 39")
    assert "line 2\n" not in error.message
    assert "secret" not in error.message


@pytest.mark.parametrize(
    ("output", "words", "hint"),
    [
        ("perdure-apt: gone", "lacks what perdure.lock names", "perdure lock --again"),
        ("perdure-apt: different", "other files", "perdure lock --again"),
        ("dns error: failed to lookup", "failed; its last words", "mirror"),
        ("no such thing", "requirements/apt-runtime.txt", "perdure build --explain"),
    ],
)
def test_the_hint_fits_the_cause(output: str, words: str, hint: str) -> None:
    error = failed(START, f"#5 0.1 {output}", "#5 ERROR: process did not complete: exit code: 100")
    assert isinstance(error, BuildFailed)
    assert words in error.message
    assert output in error.message
    assert hint in str(error.hint)


def test_a_full_disk_is_told_as_such_whoever_says_it() -> None:
    for lines in (
        (START, "#5 0.2 cp: write error: No space left on device", "#5 ERROR: exit code: 1"),
        ("ERROR: failed to solve: write /var/lib/x: no space left on device",),
    ):
        error = failed(*lines)
        assert isinstance(error, StorageError)
        assert "no space left" in error.message
        assert "docker system df" in str(error.hint)


@pytest.mark.parametrize(
    "line",
    [
        (
            "ERROR: failed to receive status: rpc error: code = Unavailable desc = error reading "
            "from server: EOF"
        ),
        "failed to solve: rpc error: code = Unavailable desc = transport is closing",
        "ERROR: Cannot connect to the Docker daemon at unix:///engine.sock.",
    ],
)
def test_an_engine_that_dies_is_told_as_such(line: str) -> None:
    error = failed(START, "#5 0.1 working", line)
    assert isinstance(error, EngineUnreachable)
    assert "unix:///engine.sock" in error.message
    assert "perdure build" in str(error.hint)


def test_a_base_that_cannot_be_had_and_what_nobody_knows() -> None:
    error = failed(
        "ERROR: failed to solve: debian:bookworm-slim: failed to resolve source metadata"
    )
    assert isinstance(error, EnvironmentFailed)
    assert "the base image `debian:bookworm-slim` cannot be had" in error.message
    unknown = failed("ERROR: something else entirely")
    assert isinstance(unknown, BuildFailed)
    assert "something else entirely" in unknown.message


def test_nothing_is_told_of_lines_that_belong_to_nothing() -> None:
    steps = Steps(PLAN, silent)
    for line in ("", "#", "#99 0.1 whose?", "#99 ERROR: what?", "[base 2/3] RUN", "#5 [base x/3]"):
        steps(line)
    assert steps.failed is None
    assert steps.output() == ""
