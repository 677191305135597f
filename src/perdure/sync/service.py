"""A live session until it is told to stop: in this process, for whoever runs it.

`python -m perdure.sync.service FOLDER` runs the one that `session.start` described in FOLDER.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perdure.errors import PerdureError
from perdure.sync.control import Answer, Control
from perdure.sync.hints import watch_tree
from perdure.sync.live import Live
from perdure.sync.once import Destination, alone
from perdure.sync.rules import Rules
from perdure.sync.session import DESCRIPTION, ENDED, Session
from perdure.sync.state import State
from perdure.sync.told import Told
from perdure.sync.trees import Tell, Trees

_WAIT_S = 5.0
_MOST_SKIPPED = 2000


@dataclass(slots=True)
class _Asked:
    """What others asked for, and have been told."""

    stopping: bool = False
    answers: list[Answer] = field(default_factory=list)


def serve(
    session: Session,
    destination: Destination,
    rules: Rules,
    tell: Tell,
    lines: Iterable[str] = (),
    *,
    wait_s: float = _WAIT_S,
) -> None:
    """Keep both sides alike until somebody says stop.

    Raises:
        ConflictError: another process does already, and does not end within `wait_s`.
        PerdureError: there is no use in going on.
    """
    with alone(session.folder, timeout_s=wait_s), contextlib.ExitStack() as stack:
        asked = _Asked()
        # Last of all: whoever is told that it has ended may begin another one.
        stack.callback(lambda: [answer({"stopped": True}) for answer in asked.answers])
        control = Control(session.socket)
        stack.callback(control.close)
        trees = Trees(session.root, State(session.state), rules, f"live{os.getpid()}", tell)
        live = Live(trees, destination, watch_tree(session.root))
        stack.callback(live.close)
        while not asked.stopping and session.root.is_dir():
            if live.step([control.fileno()], _WAIT_S):
                _take(control, live, asked, lambda: _status(live, trees, destination, lines))


def _take(
    control: Control, live: Live, asked: _Asked, status: Callable[[], dict[str, Any]]
) -> None:
    found = control.accept()
    if found is None:
        return
    question, answer = found
    if question.get("ask") == "barrier":
        live.wait(lambda alike: answer({"alike": alike}), float(question.get("timeout_s", 0)))
    elif question.get("ask") == "stop":
        asked.stopping = True
        asked.answers.append(answer)
    else:
        answer(status())


def _status(
    live: Live, trees: Trees, destination: Destination, lines: Iterable[str]
) -> dict[str, Any]:
    exchange = live.exchange
    skipped = trees.scanner.skipped(trees.local)
    return {
        "pid": os.getpid(),
        "pull": list(trees.rules.pull),
        "root": destination.root,
        "connected": live.is_connected,
        "since": live.connected_at if live.is_connected else live.lost_at,
        "problem": live.problem,
        "files": len(trees.local.files),
        "waiting": exchange.left,
        "problems": [{"path": path, "why": why} for path, why in sorted(trees.problems.items())],
        "refused": list(exchange.refused.paths) if exchange.refused is not None else [],
        "skipped": [{"path": each.path, "why": each.why} for each in skipped[:_MOST_SKIPPED]],
        "warning": trees.scanner.warning,
        "watching": not live.is_short,
        "told": list(lines),
        "time": time.time(),
    }


def main() -> None:
    """Run what a description says; the last words of a failure go to its log."""
    folder = Path(sys.argv[1])
    described = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    session = Session(Path(described["project"]), str(described["target"]))
    told = Told(session.log)
    # What is kept here is no garbage, and there is much of it.
    gc.set_threshold(300_000)
    # As Ctrl-C: what was agreed on is written down, the other end is let go.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    destination = Destination(tuple(described["argv"]), str(described["root"]))
    rules = Rules(
        pull=tuple(described["pull"]),
        largest_bytes=int(described["largest_bytes"]),
        deletes_much=bool(described["deletes_much"]),
    )
    try:
        serve(session, destination, rules, told, told, wait_s=float(described["wait_s"]))
    except PerdureError as error:
        told(f"{ENDED}: {error.message}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        told(ENDED)


if __name__ == "__main__":
    main()
