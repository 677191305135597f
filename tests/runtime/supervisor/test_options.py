from __future__ import annotations

from pathlib import Path

import pytest

from perdure.runtime.supervisor.options import BadOptions, parse


def test_everything_at_once() -> None:
    line = (
        "--run-dir /r/x --job j --seed -3 --cwd /c --grace-s 1.5 --retries 0 --backoff-s 0 "
        "--watch aws --watch azure --watch aws --watch-url http://localhost:1 --approve -- a -- b"
    )
    found = parse(line.split())
    assert found.run_dir == "/r/x"
    assert found.command == ("a", "--", "b")
    assert (found.job, found.seed, found.cwd) == ("j", -3, "/c")
    assert (found.grace_s, found.retries, found.backoff_s) == (1.5, 0, 0.0)
    assert (found.watch, found.watch_url, found.approve) == (
        ("aws", "azure"),
        "http://localhost:1",
        True,
    )


def test_what_is_not_said() -> None:
    found = parse(["--run-dir", "some where", "--", "x"])
    assert found.run_dir == str(Path.cwd() / "some where")
    assert (found.job, found.seed, found.cwd) == ("some where", None, str(Path.cwd()))
    assert (found.grace_s, found.retries, found.backoff_s, found.watch) == (30, 2, 1, ())
    assert (found.watch_url, found.approve) == (None, False)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--run-dir x", "write it after `--`"),
        ("--run-dir x --", "no command after"),
        ("-- x", "`--run-dir` is missing"),
        ("--run-dri x -- x", "unknown option `--run-dri`"),
        ("--run-dir x --job -- x", "`--job` wants a value"),
        ("--run-dir x --seed one -- x", "`--seed` wants a whole number, not `one`"),
        ("--run-dir x --retries -1 -- x", "0 or more"),
        ("--run-dir x --grace-s soon -- x", "`--grace-s` wants seconds, not `soon`"),
        ("--run-dir x --grace-s nan -- x", "wants seconds"),
        ("--run-dir x --grace-s inf -- x", "wants seconds"),
        ("--run-dir x --backoff-s -1 -- x", "wants seconds"),
        ("--run-dir x --watch oracle -- x", "`--watch` knows aws, gcp, azure, not `oracle`"),
    ],
)
def test_what_cannot_be_understood(line: str, says: str) -> None:
    with pytest.raises(BadOptions, match=says.replace(".", r"\.")):
        parse(line.split())
