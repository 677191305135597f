"""A compose file that brings a project's containers up without perdure. Pure text.

Source: https://github.com/compose-spec/compose-spec/blob/main/spec.md
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from perdure.images.mounts import CODE, SHARED_MEMORY, Mount
from perdure.model.image import ImageUser, Stage

Value = str | bool | int | Sequence["Value"] | Mapping[str, "Value"]

_HEAD = """\
# Made by `perdure eject compose`; the same bytes each time. It needs no perdure:
#   docker compose up -d               builds the image if it is not there, and starts `dev`
#   docker compose exec dev bash       a shell in it
#   docker compose run --rm train      the training, from the working tree as it is
# An image of that name is taken as it is: after changing docker/, `docker compose build`.
"""
_PLAIN = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)
# YAML 1.1 and 1.2 break or refuse these inside quotes; JSON leaves them as they are.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Service:
    """A container of the compose file: its image, what it sees, and what it runs."""

    name: str
    stage: Stage
    image: str
    mounts: tuple[Mount, ...]
    command: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Composition:
    """All that a compose file depends on; a mount's source is relative to the file or absolute.

    `context` is the folder with the Dockerfile, relative to the file.
    """

    project: str
    user: ImageUser
    services: tuple[Service, ...]
    context: str = "./docker"
    gpus: bool = False


def compose(composition: Composition) -> str:
    """Return the text of compose.yaml: the same bytes each time.

    The first service comes up by itself, the others when they are named.
    """
    services: dict[str, Value] = {}
    for index, service in enumerate(composition.services):
        described = _service(composition, service)
        services[service.name] = {**described, **({"profiles": [service.name]} if index else {})}
    document: Value = {"name": project_name(composition.project), "services": services}
    return _HEAD + "\n" + "\n".join(_block(_doubled(document), 0)) + "\n"


def project_name(name: str) -> str:
    """Return a project's name as compose allows it: lower case, digits, `_` and `-`."""
    return re.sub(r"[^a-z0-9_-]", "-", name.lower()).lstrip("_-") or "project"


def _service(composition: Composition, service: Service) -> Mapping[str, Value]:
    user = composition.user
    found: dict[str, Value] = {
        "image": service.image,
        # No registry has it: another's image of that name is not to be taken.
        "pull_policy": "never",
        "build": {"context": composition.context, "target": service.stage.value},
        "init": True,
        "user": f"{user.user_id}:{user.group_id}",
        "working_dir": CODE,
        "shm_size": SHARED_MEMORY,
        "stop_grace_period": "30s",
        "environment": dict(service.environment),
        "volumes": [_volume(mount) for mount in service.mounts],
        "command": list(service.command),
    }
    if composition.gpus:
        device: Value = {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
        found["deploy"] = {"resources": {"reservations": {"devices": [device]}}}
    return {key: value for key, value in found.items() if value not in ({}, [])}


def _volume(mount: Mount) -> Mapping[str, Value]:
    found: dict[str, Value] = {"type": "bind", "source": mount.source, "target": mount.target}
    if mount.read_only:
        found["read_only"] = True
    # A folder that is missing is an error: the engine would make it, and it would be root's.
    return {**found, "bind": {"create_host_path": False}}


def _doubled(value: Value) -> Value:
    """Return the value with `$` doubled in every text: compose would put variables there."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, Mapping):
        return {key: _doubled(each) for key, each in value.items()}
    if isinstance(value, Sequence):
        return [_doubled(each) for each in value]
    return value


def _block(value: Value, depth: int) -> Iterator[str]:
    """Yield the lines of a mapping or a list as YAML has them in block style."""
    indent = "  " * depth
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _entry(f"{indent}{_key(key)}:", each, depth)
    elif isinstance(value, Sequence):
        for each in value:
            lines = list(_block(each, depth + 1)) if _is_nested(each) else [_scalar(each)]
            yield f"{indent}- {lines[0].lstrip(' ')}"
            yield from lines[1:]


def _entry(begin: str, value: Value, depth: int) -> Iterator[str]:
    if _is_nested(value):
        yield begin
        yield from _block(value, depth + 1)
    else:
        yield f"{begin} {_scalar(value)}"


def _is_nested(value: Value) -> bool:
    return isinstance(value, Mapping | Sequence) and not isinstance(value, str)


def _key(key: str) -> str:
    return key if _PLAIN.fullmatch(key) else _scalar(key)


def _scalar(value: Value) -> str:
    """Return a text in double quotes, in which JSON and YAML escape alike, or a plain scalar."""
    text = json.dumps(value, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
