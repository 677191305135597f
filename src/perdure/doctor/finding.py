"""What was found: a verdict, what was seen, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """How a finding bears on perdure: a WARNING costs something, a PROBLEM makes a verb fail."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `remedy` is empty where nothing needs one."""

    name: str
    verdict: Verdict
    seen: str
    remedy: str = ""


def fine(name: str, seen: str) -> Finding:
    """Return a finding that needs nothing."""
    return Finding(name, Verdict.OK, seen)


def warning(name: str, seen: str, remedy: str) -> Finding:
    """Return a finding that costs something, or will one day."""
    return Finding(name, Verdict.WARNING, seen, remedy)


def problem(name: str, seen: str, remedy: str) -> Finding:
    """Return a finding that makes a verb fail."""
    return Finding(name, Verdict.PROBLEM, seen, remedy)


def problems_in(findings: Sequence[Finding]) -> int:
    """Return how many of the findings are problems."""
    return sum(finding.verdict is Verdict.PROBLEM for finding in findings)
