"""A training made of actions, one argument for each attempt; the last argument serves for the rest.

It needs no package, so that it starts at once: `python -I -S training.py "hello step:3 kill:9" ...`
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

RUN_DIR = Path(os.environ["PERDURE_RUN_DIR"])
ATTEMPT = int(os.environ["PERDURE_ATTEMPT"])
CHANNEL = int(os.environ["PERDURE_CTL_FD"])
STUBBORN = (
    "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(99)"
)
heard: list[int] = []


def say(event: str, **fields: object) -> None:
    os.write(CHANNEL, json.dumps({"event": event, **fields}).encode() + b"\n")


def append(text: str) -> None:
    """Tell it as a rank does that has no socket."""
    path = RUN_DIR / "attempts" / f"{ATTEMPT:06d}.ctl"
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write(text)


def stubborn(setsid: str) -> None:
    """Leave a process behind that ignores SIGTERM; its id goes to a file."""
    command = [sys.executable, "-I", "-S", "-c", STUBBORN]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, start_new_session=setsid == "setsid"
    )
    assert process.stdout is not None
    process.stdout.readline()
    (RUN_DIR / "stubborn").write_text(str(process.pid))
    process.returncode = 0


def wait(_: str) -> None:
    """Wait for SIGTERM, which is then only noted."""
    while not heard:
        signal.pause()


def alone(_: str) -> None:
    """Wait until the shell around this is gone, and a little more: the supervisor is to see it."""
    shell = os.getppid()
    while os.getppid() == shell:
        time.sleep(0.01)
    time.sleep(0.2)


def storm(count: str) -> None:
    for turn in range(int(count)):
        number = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)[turn % 4]
        os.kill(os.getppid(), number)


ACTIONS: dict[str, Callable[[str], object]] = {
    "hello": lambda _: say("hello", pid=os.getpid(), api=1, python="3", torch=None, world=1),
    "restored": lambda step: say("restored", step=int(step), generation=ATTEMPT - 1 or None),
    "step": lambda step: say("step", step=int(step)),
    "durable": lambda step: say("durable", step=int(step), bytes=1, seconds=0.1, reason="interval"),
    "exiting": lambda code: say("exiting", code=int(code), step=1, durable_step=1, reason="done"),
    "raw": lambda text: os.write(CHANNEL, text.encode() + b"\n"),
    "ctl": lambda text: append(text + "\n"),
    "exit": lambda code: os._exit(int(code)),
    "kill": lambda number: os.kill(os.getpid(), int(number)),
    "heed": lambda _: signal.signal(signal.SIGTERM, lambda number, _: heard.append(number)),
    "ignore": lambda _: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    "touch": lambda name: (RUN_DIR / name).touch(),
    "write": (RUN_DIR / "PREEMPT").write_text,
    "parent": lambda number: os.kill(os.getppid(), int(number)),
    "storm": storm,
    "alone": alone,
    "wait": wait,
    "hang": lambda _: time.sleep(99),
    "listen": lambda _: print(os.read(CHANNEL, 4096).decode(), end="", flush=True),
    "deaf": lambda _: os.close(CHANNEL),
    "stubborn": stubborn,
    "ready": lambda _: (RUN_DIR / "ready").touch(),
    "print": lambda text: print(text, flush=True),
}

if __name__ == "__main__":
    for word in sys.argv[1:][min(ATTEMPT, len(sys.argv) - 1) - 1].split():
        name, _, value = word.partition(":")
        ACTIONS[name](value)
