"""What a visitor of this machine runs: a shell where the job does, or one command. Nothing else."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from perdure.errors import PerdureError
from perdure.targets import far

# sshd's name for what a visitor asked for, where the key has a command of its own.
_ASKED = "SSH_ORIGINAL_COMMAND"


def enter(inside: str) -> None:
    """Become the command that a visitor asks for, in the job's folder, environment or container.

    `inside` is a file of JSON: `there`, `job` and `commands`, as `perdure.targets.far.aside` takes
    them, and `around`, the variables of the program that has the job. What is asked for is a list
    of words in JSON; none: a shell. Never returns.
    """
    known = json.loads(Path(inside).read_bytes())
    around = known["around"]
    # sshd's own are of the visitor's terminal; of programs it knows fewer places.
    os.environ.update({**around, **os.environ, "PATH": around.get("PATH", os.defpath)})
    asked = os.environ.pop(_ASKED, "")
    try:
        argv = [str(word) for word in json.loads(asked)] if asked else []
        terminal = sys.stdin.isatty()
        found = far.aside(known["there"], known["job"], known["commands"], argv, terminal)
        os.environ.update(found["environment"])
        if found["cwd"]:
            os.chdir(found["cwd"])
        os.execvp(found["argv"][0], found["argv"])  # noqa: S606 - no shell is wanted
    except PerdureError as error:
        told = error.message
    except (OSError, ValueError) as error:
        told = f"`{asked}` cannot be run there: {error}"
    sys.stderr.write(f"perdure: {told}\n")
    raise SystemExit(127)
