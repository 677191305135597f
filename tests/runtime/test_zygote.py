"""The zygote's own decisions; what it does to trainings is tested in tests/drill."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from perdure.runtime import zygote
from perdure.runtime.zygote import Command, preload


@pytest.mark.parametrize(
    ("argv", "module", "script", "arguments"),
    [
        (["python", "-m", "cats.train", "--epochs", "3"], "cats.train", "", ["--epochs", "3"]),
        (["/x y/bin/python3.11", "train.py", "a b"], "", "train.py", ["a b"]),
        (["python", "-u", "train.py"], "", "", []),
        (["python", "-m"], "", "", []),
        (["python"], "", "", []),
        (["torchrun", "train.py"], "", "", []),
    ],
)
def test_only_a_module_or_a_script_can_be_forked(
    argv: list[str], module: str, script: str, arguments: list[str]
) -> None:
    command = Command(argv, ".")
    assert (command.module, command.script, command.arguments) == (module, script, arguments)
    assert command.forkable is bool(module or script)


def test_only_what_is_known_to_be_harmless_is_imported_beforehand() -> None:
    code = (
        "import sys\n"
        "from perdure.runtime.zygote import preload\n"
        "preload(['this', 'numpy.not_there', 'sklearn_not_there', 'numpy.linalg'])\n"
        "print('this' in sys.modules, 'numpy.linalg' in sys.modules)\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.stdout.split() == ["False", "True"], shown.stderr


def test_nothing_is_imported_for_a_training_that_imports_nothing() -> None:
    before = set(sys.modules)
    preload(["json", "os", "PIL.there_is_no_such_module"])
    assert set(sys.modules) == before


def test_a_training_leaves_when_its_threads_and_exit_handlers_are_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left: list[str] = []
    go = threading.Event()

    def wait() -> None:
        go.wait(60)
        left.append("thread")

    threading.Thread(target=wait).start()
    # Only what happens in which order is of interest: pytest is to go on.
    monkeypatch.setattr(atexit, "_run_exitfuncs", lambda: left.append("handlers"))
    leave: Callable[[int], object] = zygote._leave
    monkeypatch.setattr(os, "_exit", lambda code: left.append(f"exit {code}"))
    threading.Timer(0.05, go.set).start()
    leave(75)
    assert left == ["thread", "handlers", "exit 75"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's word is Linux's")
@pytest.mark.parametrize("gone", [True, False])
def test_a_training_whose_zygote_has_gone_goes_too(*, gone: bool) -> None:
    code = (
        "import os, sys\n"
        "from perdure.runtime import zygote\n"
        "zygote.os.kill = lambda pid, signal: print(pid == os.getpid(), int(signal))\n"
        f"zygote._die_with(os.getppid() + {int(gone)})\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.stdout == (f"True {int(signal.SIGKILL)}\n" if gone else ""), shown.stderr


def test_elsewhere_than_on_linux_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    kills: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: kills.append(number))
    zygote._die_with(-1)
    assert kills == []
