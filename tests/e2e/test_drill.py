"""`perdure drill` as a user types it, in a project of the template."""

from __future__ import annotations

import re

import pytest

from tests.e2e.demonstrated import PATIENCE_S, Demonstrated


@pytest.mark.install
@pytest.mark.timeout(PATIENCE_S)
@pytest.mark.parametrize("count", [3, pytest.param(30, marks=pytest.mark.long)])
def test_the_template_is_bit_exact_and_nothing_of_it_can_be_lost_unseen(
    demonstrated: Demonstrated, count: int
) -> None:
    jobs = set(demonstrated.project.glob("results/*/job.json"))
    words = ("drill", "train", "-n", str(count), "--self-test", "--", "--epochs", "2")
    said = demonstrated.said(*words)
    verdict = said.splitlines()[0]
    found = re.fullmatch(
        rf"{count}/{count} bit-exact; (\d+) interruptions?, (\d+) mid-epoch, (\d+) inside a save",
        verdict,
    )
    assert found, verdict
    interruptions, mid_epoch, in_save = map(int, found.groups())
    assert interruptions >= count
    assert mid_epoch > interruptions / 2
    assert in_save >= 1
    assert "self-test: 9/9" in said
    assert set(demonstrated.project.glob("results/*/job.json")) == jobs


@pytest.mark.long
@pytest.mark.install
@pytest.mark.timeout(PATIENCE_S)
def test_a_fault_planted_into_the_template_is_caught_and_named(demonstrated: Demonstrated) -> None:
    [train] = demonstrated.project.glob("src/*/train.py")
    code = train.read_text()
    planted = code.replace("schedule=schedule, average=average", "schedule=schedule")
    assert planted != code
    train.write_text(planted)
    try:
        words = ("drill", "train", "-n", "2", "--kinds", "term,kill", "--", "--epochs", "2")
        done = demonstrated.perdure(*words)
    finally:
        train.write_text(code)
    assert done.returncode == 7, done.stdout + done.stderr
    assert "metric accuracy differs" in done.stdout
