"""What is known of a job that runs elsewhere: `witness.json`, beside the mirror of its run folder.

A run folder without one is the job's own. With one, the truth is on a host: here lies what the host
said when it was asked last.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import NamedTuple

from perdure.jobs.folder import WITNESS_FILE
from perdure.model.station import Station
from perdure.targets.standing import Standing

_FORMAT = 1
_STATE = ".perdure"
_WORDS = "words"


class Witness(NamedTuple):
    """Where a job runs, and what its host said of it last.

    `alive`: a supervisor holds the run folder there. `over`: the job has ended, and all of it that
    is kept here is here, so that nobody needs to be asked again. The rest is what a scheduler there
    says, as in `Standing`.
    """

    target: str
    station: Station
    alive: bool = False
    over: bool = False
    waits: str | None = None
    ended: str = ""
    problem: str = ""

    @property
    def standing(self) -> Standing:
        """Return how the job stood when its host was asked last."""
        return Standing(self.alive, self.waits, self.ended, None, self.problem)


class Word(NamedTuple):
    """What a host said of itself when it answered last.

    `asked` is when that was (unix seconds, 0: never), `problem` why it has not answered since, ""
    where it did. `boot` changes when it restarts; its clock is `ahead_s` ahead of this machine's.
    """

    asked: float = 0.0
    boot: str = ""
    ahead_s: float = 0.0
    problem: str = ""


def read_witness(folder: Path) -> Witness | None:
    """Return what is known of a job elsewhere, None for a job of this machine. Reads the disk."""
    try:
        found = json.loads((folder / WITNESS_FILE).read_bytes())
        station = Station(**found["station"])
        said = {name: found[name] for name in ("waits", "ended", "problem") if name in found}
        alive, over = bool(found["alive"]), bool(found["over"])
        return Witness(str(found["target"]), station, alive, over, **said)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_witness(folder: Path, witness: Witness) -> None:
    """Write what is known, whole or not at all. Touches the disk."""
    _write(
        folder / WITNESS_FILE,
        {
            "format": _FORMAT,
            **witness._asdict(),
            "station": witness.station._asdict(),
        },
    )


def project_above(folder: Path) -> Path:
    """Return the project that a run folder is in, by where perdure's own state lies."""
    above = (each for each in folder.parents if (each / _STATE).is_dir())
    return next(above, folder.parent.parent)


def read_word(root: Path, station: Station) -> Word:
    """Return what a host said of itself last. Reads the disk."""
    try:
        found = json.loads(_word_file(root, station).read_bytes())
        return Word(**{name: found[name] for name in Word._fields})
    except (OSError, ValueError, KeyError, TypeError):
        return Word()


def write_word(root: Path, station: Station, word: Word) -> None:
    """Write what a host said of itself. Touches the disk."""
    file = _word_file(root, station)
    file.parent.mkdir(parents=True, exist_ok=True)
    _write(file, word._asdict())


def _word_file(root: Path, station: Station) -> Path:
    # Its folder there has a name that tells hosts and projects apart.
    name = Path(station.root).name
    return root / _STATE / "targets" / _WORDS / f"{name}.json"


def _write(file: Path, content: dict[str, object]) -> None:
    draft = file.with_name(f".{file.name}-{os.getpid()}-{time.monotonic_ns()}")
    draft.write_text(json.dumps(content) + "\n")
    draft.replace(file)
