"""What scripts/test says when it is over."""

from __future__ import annotations

import sys

import pytest

from scripts import checks
from scripts.checks import Check, Outcome


def outcome(name: str, code: int = 0, closing: str | None = None) -> Outcome:
    return Outcome(Check(name, ("x",)), code, 1.5, closing)


@pytest.mark.parametrize(
    ("line", "closing"),
    [
        ("==== 812 passed in 3.21s ====", "812 passed in 3.21s"),
        (
            "812 passed, 3 deselected in 301.22s (0:05:01)",
            "812 passed, 3 deselected in 301.22s (0:05:01)",
        ),
        ("=== 1 failed, 2 passed, 1 error in 0.10s ===", "1 failed, 2 passed, 1 error in 0.10s"),
        ("the test said: 3 passed in 1.0s", None),
        ("FAILED tests/x.py - 3 failed", None),
    ],
)
def test_only_pytests_closing_line_is_taken_for_it(line: str, closing: str | None) -> None:
    match = checks.CLOSING.match(line)
    assert (match.group(1) if match else None) == closing


def test_when_all_passed_the_last_line_is_pytests() -> None:
    all_well = [outcome("lint"), outcome("tests", 0, "5 passed in 1.00s"), outcome("coverage")]
    assert checks.summary(all_well).splitlines()[-1] == "5 passed in 1.00s"


def test_a_failed_check_is_not_hidden_behind_tests_that_passed() -> None:
    found = [outcome("lint", 1), outcome("tests", 0, "5 passed in 1.00s")]
    assert checks.last_line(found) == "5 passed, 1 failed"


def test_failed_tests_are_counted_with_the_checks() -> None:
    found = [outcome("lint", 1), outcome("tests", 1, "2 failed, 5 passed, 1 error in 1.00s")]
    assert checks.last_line(found) == "5 passed, 4 failed"


def test_tests_that_were_cut_off_count_as_one_that_failed() -> None:
    found = [outcome("lint"), outcome("tests", 124)]
    assert checks.last_line(found) == "1 passed, 1 failed"
    assert "TIME OUT" in checks.summary(found)


def test_a_check_that_hangs_is_ended(capfd: pytest.CaptureFixture[str]) -> None:
    program = "import subprocess, sys; subprocess.run(['sleep', '60'])"
    done = checks.perform(Check("tests", (sys.executable, "-c", program), limit_s=0.3))
    assert done.code == 124
    assert "stopped after its limit" in capfd.readouterr().out


def test_the_closing_line_is_found_in_coloured_output(capfd: pytest.CaptureFixture[str]) -> None:
    program = (
        "print('\\033[32m== \\033[1m7 passed\\033[0m in 0.10s ==\\033[0m'); raise SystemExit(1)"
    )
    done = checks.perform(Check("tests", (sys.executable, "-c", program)))
    assert (done.code, done.closing) == (1, "7 passed in 0.10s")
    assert "7 passed" in capfd.readouterr().out
