"""No test hangs on how fast a machine is: nothing asserts that something was over by a time."""

from __future__ import annotations

import ast

from tests.architecture.source import python_files, relative

CLOCKS = frozenset({"monotonic", "perf_counter"})


def reads_clock(node: ast.expr) -> bool:
    """Return whether an expression has a look at a clock in it."""
    return any(isinstance(each, ast.Attribute) and each.attr in CLOCKS for each in ast.walk(node))


def is_in_a_hurry(test: ast.expr) -> bool:
    """Return whether an expression is true only as long as a clock shows less than something."""
    for compare in (each for each in ast.walk(test) if isinstance(each, ast.Compare)):
        sides = [compare.left, *compare.comparators]
        for left, order, right in zip(sides, compare.ops, sides[1:], strict=False):
            small, large = (left, right) if isinstance(order, (ast.Lt, ast.LtE)) else (right, left)
            in_order = isinstance(order, (ast.Lt, ast.LtE, ast.Gt, ast.GtE))
            if in_order and reads_clock(small) and not reads_clock(large):
                return True
    return False


def test_no_test_asserts_that_something_was_fast() -> None:
    found = [
        f"{relative(path)}:{node.lineno}"
        for path in python_files("tests")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert) and is_in_a_hurry(node.test)
    ]
    assert found == []


def test_what_is_in_a_hurry_is_seen() -> None:
    def hurry(source: str) -> bool:
        return is_in_a_hurry(ast.parse(source, mode="eval").body)

    assert hurry("time.monotonic() - began < 5")
    assert hurry("1 <= perf_counter.perf_counter() - began < limit")
    assert hurry("end > time.monotonic()")
    assert not hurry("time.monotonic() - began >= 1")
