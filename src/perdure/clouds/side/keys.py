"""The names of objects below a project's folder in a bucket: docs/decisions/0008. Pure."""

from __future__ import annotations

STANDING = "standing.json"
START = "start.json"
LEASE = "lease.json"
CONTROL = "control.json"
VISITS = "visits.json"
DOOR = "door.json"
FOLDER = "folder"
LOG = "log"
PACKS = "packs"
CHECKPOINTS = "checkpoints"
OUTPUTS = "outputs"
SCRATCH = "scratch"
KITS = "kit"
OBJECTS = "objects"
FILES = "files"
ENVIRONMENTS = "environments"
LAYERS = "layers"
IMAGES = "images"
JOBS = "jobs"

_DIGITS = 10
_PART_DIGITS = 6


def job(name: str, key: str) -> str:
    """Return the name of an object of a job."""
    return f"{JOBS}/{name}/{key}"


def contents(digest: str, kind: str) -> str:
    """Return the name of the contents of a file of a code snapshot."""
    return f"{OBJECTS}/{digest[:2]}/{kind}{digest}"


def kit(digest: str) -> str:
    """Return the name of perdure's own modules for a machine."""
    return f"{KITS}/{digest}.zip"


def file(name: str) -> str:
    """Return the name of a file that a machine is to have in its project, such as uv."""
    return f"{FILES}/{name}"


def environment(name: str) -> str:
    """Return the name of what is to be installed for an environment."""
    return f"{ENVIRONMENTS}/{name}.json"


def image(known: str) -> str:
    """Return the name of what says of an image which layers it has; `known` is its id."""
    return f"{IMAGES}/{known.rpartition(':')[2]}.json"


def layer(digest: str) -> str:
    """Return the name of what says of a layer that all of it is there, by its SHA-256 in hex."""
    return f"{LAYERS}/{digest}.json"


def layer_part(digest: str, number: int) -> str:
    """Return the name of a part of a layer."""
    return f"{LAYERS}/{digest}/{number:0{_PART_DIGITS}d}"


def piece(number: int) -> str:
    """Return the name of a piece of the log, in a job's folder."""
    return f"{LOG}/{number:0{_DIGITS}d}"


def pack(number: int) -> str:
    """Return the name of the pieces up to a number, as one."""
    return f"{PACKS}/{number:0{_DIGITS}d}"


def number_of(key: str) -> int:
    """Return the number that a piece's or a pack's name ends with."""
    return int(key.rpartition("/")[2])


def part(checkpoint: str, file: str, number: int) -> str:
    """Return the name of a part of a checkpoint's file."""
    return f"{CHECKPOINTS}/{checkpoint}/{file}/{number:0{_PART_DIGITS}d}"


def manifest(checkpoint: str) -> str:
    """Return the name of a checkpoint's manifest."""
    return f"{CHECKPOINTS}/{checkpoint}.json"
