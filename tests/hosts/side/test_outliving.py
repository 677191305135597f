from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from perdure.hosts.side.outliving import LENT, is_lent, outliving_words, spawn_outliving
from perdure.hosts.within import Found, container_words
from tests.waiting import until

VALUES = {
    "user": "1000",
    "group": "100",
    "groups": "100 986",
    "name": "ada",
    "home": "/home/ada",
    "socket": "/run/docker.sock",
    "client": "/usr/bin/docker",
    "program": "/usr/bin/docker",
    "image": "perdure/cats:runtime-0123",
}


def test_a_command_survives_whoever_started_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    running = spawn_outliving(
        ("sh", "-c", 'pwd; echo "$A"; sleep 1000'),
        env={**os.environ, "A": "it's $(b)"},
        cwd=tmp_path,
        log=log,
    )
    until(lambda: log.read_text().endswith("(b)\n"))
    assert log.read_text() == f"{tmp_path}\nit's $(b)\n"
    assert not running.is_over()
    assert os.getsid(running.pid) == running.pid
    running.kill()
    until(running.is_over)


def test_a_lent_python_knows_how_it_is_lent(monkeypatch: pytest.MonkeyPatch) -> None:
    words = container_words(Found(VALUES, ("/home", "/srv")))
    (given,) = [word for word in words if word.startswith(f"--env={LENT}=")]
    lent = json.loads(given.partition(f"{LENT}=")[2])
    assert tuple(lent) == tuple(word for word in words if word != given)
    assert not is_lent({})
    assert is_lent({LENT: "[]"})

    monkeypatch.setenv("HOME", "/home/ada")
    env = {"HOME": "/home/ada", "TOKEN": "secret"}
    log = Path("/srv/p/it's a log")
    found = outliving_words(lent, ("python3", "-c", "a b"), env, "/srv/p", log)
    assert found[:4] == ["/usr/bin/docker", "run", "--detach", "--workdir=/srv/p"]
    assert {"--rm", "--pid=host", "--network=host", "--user=1000:100"} <= {*found}
    assert "--env=TOKEN" in found
    assert not [word for word in found if "secret" in word or LENT in word]
    assert not [word for word in found if word in {"--interactive", "--env=HOME"}]
    assert [word for word in found if word.startswith("--workdir")] == ["--workdir=/srv/p"]
    at = found.index("perdure/cats:runtime-0123")
    assert found[at - 1] == "--entrypoint=sh"
    assert found[at + 3 :] == ["/srv/p/it's a log", "python3", "-c", "a b"]
