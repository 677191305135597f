from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from perdure.sync.far.patterns import Patterns

PATHS = [
    "a.py",
    "b/a.py",
    "b/c/a.py",
    "b/notes.txt",
    "build/x",
    "src/build/x",
    "x[1].py",
    "star*.py",
    " lead",
    "c/d/e/f.ipynb",
    "#hash",
    "!bang",
]
LINES = [
    ["*.py"],
    ["/a.py"],
    ["b/"],
    ["build"],
    ["/build/"],
    ["**/a.py"],
    ["b/**"],
    ["b/**/a.py"],
    ["*.py", "!b/a.py"],
    ["b/*", "!b/c"],
    ["x[[]1].py"],
    ["x[!a]1].py"],
    ["star\\*.py"],
    ["\\#hash"],
    ["\\!bang"],
    ["# a comment", ""],
    ["?.py"],
    ["c/**/f.ipynb"],
    ["**/*.ipynb"],
    ["[a-c]/notes.*"],
    [" lead"],
]


@pytest.mark.parametrize("lines", LINES, ids=" ".join)
def test_patterns_mean_what_they_mean_to_git(lines: list[str], tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("\n".join(lines) + "\n")
    for path in PATHS:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    asked = subprocess.run(
        ["git", "-C", tmp_path, "check-ignore", "-z", "--stdin"],
        input="\0".join(PATHS).encode() + b"\0",
        capture_output=True,
    )
    ignored = {path.decode() for path in asked.stdout.split(b"\0") if path}
    patterns = Patterns(lines)
    assert {path for path in PATHS if patterns.covers(path)} == ignored


def test_no_patterns_mean_nothing() -> None:
    assert not Patterns(["", "# nothing"])
    assert not Patterns([]).covers("a/b")
