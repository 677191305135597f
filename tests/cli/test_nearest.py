from __future__ import annotations

from perdure.cli.nearest import did_you_mean, nearest


def test_nearest_finds_what_was_meant_or_nothing() -> None:
    assert nearest("resme", ["run", "resume", "rerun"]) == "resume"
    assert nearest("zzz", ["run", "resume"]) is None
    assert nearest("", []) is None


def test_the_hint_falls_back() -> None:
    assert did_you_mean("pss", ["ps"], "see help") == "did you mean `ps`?"
    assert did_you_mean("qqq", ["ps"], "see help") == "see help"
