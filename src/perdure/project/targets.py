"""`[targets.NAME]`: other hosts as a project and its users name them, the stronger tables last."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from perdure.model.duration import seconds_in
from perdure.model.settings import KubernetesSettings, SlurmSettings, TargetSettings
from perdure.project import clouds, kubernetes, tables
from perdure.project.find import perdure_table
from perdure.project.validate import Problem, dotted, problems_in, read_toml, refuse

RESERVED = ("local", "docker")
SSH, SLURM, KUBERNETES = "ssh", "slurm", "kubernetes"
PROCESS, APPTAINER = "process", "apptainer"
# The keys that not every kind of target has.
KINDS = MappingProxyType(
    {
        SSH: ("host", "root", "sync", "engine", "images"),
        SLURM: (
            *("host", "root", "sync", "engine"),
            *("partition", "account", "qos", "time", "lines", "modules"),
        ),
        KUBERNETES: kubernetes.KEYS,
        **clouds.KEYS,
    }
)
LEAST_TIME_S = 60.0

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# A name of Slurm's that can stand in one of its options.
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._,@+-]*")
_MODULE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]*")
# ssh reads a word that begins with `-` as an option, and a program may stand in one.
_HOST = re.compile(r"(?!-)(?!.*[@/]-)[^\s\x00-\x1f\x7f'\"`$;&|<>(){}\\]+")


@dataclass(frozen=True, slots=True)
class Layer:
    """The targets of one file, and the key that they stand below."""

    file: Path
    at: str
    targets: Mapping[str, tables.TargetTable]


def target_problems(targets: Mapping[str, tables.TargetTable], at: str) -> list[Problem]:
    """Return what is wrong with the tables, each for itself. Pure."""
    return [
        Problem(dotted(dotted(at, name), key) if key else dotted(at, name), text)
        for name, table in targets.items()
        for key, text in _problems_of(name, table)
    ]


def team_layer(file: Path) -> Layer:
    """Return the targets that a project's file names for everybody; looks at nothing else in it.

    Raises:
        UsageError: naming every problem of theirs.
    """
    at = "tool.perdure.targets"
    table = perdure_table(read_toml(file)) if file.is_file() else None
    given = table.get("targets", {}) if isinstance(table, dict) else {}
    if not isinstance(given, dict):
        refuse(file, [Problem(at, f"expected a table, got `{type(given).__name__}`")])
    problems = [
        problem
        for name, each in given.items()
        for problem in problems_in(each, tables.TargetTable, dotted(at, name))
    ]
    refuse(file, problems)
    decoded = msgspec.convert(given, dict[str, tables.TargetTable])
    refuse(file, target_problems(decoded, at))
    return Layer(file, at, decoded)


def merge(layers: Sequence[Layer]) -> Mapping[str, TargetSettings]:
    """Return the targets of all layers. Of two with one name, the later one wins key by key.

    Raises:
        UsageError: a target has no host in any layer, or keys of another kind of target.
    """
    whole: dict[str, tables.TargetTable] = {}
    for layer in layers:
        for name, table in layer.targets.items():
            whole[name] = _over(whole.get(name, tables.TargetTable()), table)
    for layer in reversed(layers):
        refuse(
            layer.file,
            [
                Problem(dotted(dotted(layer.at, name), key), text)
                for name, table in layer.targets.items()
                for key, text in _misfits(whole[name], table)
            ],
        )
    return MappingProxyType({name: _target(table) for name, table in whole.items()})


def _misfits(whole: tables.TargetTable, table: tables.TargetTable) -> Iterator[tuple[str, str]]:
    """Yield what of one layer's table does not fit the kind of target that all of them make."""
    kind = SSH if isinstance(whole.kind, UnsetType) else whole.kind
    if kind == SSH and isinstance(whole.host, UnsetType):
        yield "host", "is missing: what `ssh` is to be given"
    if kind in clouds.KINDS:
        yield from clouds.missing(_given(whole), _given(table))
    if kind == KUBERNETES:
        yield from kubernetes.missing(_given(whole))
        # Of a Slurm they are anything that sbatch and a shell take.
        yield from kubernetes.line_problems(_given(table))
    for key in _given(table):
        if key == "engine" and (problem := _engine_problem(kind, table.engine)):
            yield key, problem
        if key == "kind" or key in KINDS[kind]:
            continue
        owners = [each for each, keys in KINDS.items() if key in keys]
        if SSH in owners and SLURM not in owners:
            yield key, f'is a key not of `kind = "{kind}"`'
        else:
            names = " and ".join(f'`kind = "{each}"`' for each in owners)
            yield key, f"is a key of {names} only"


def _engine_problem(kind: str, engine: object) -> str | None:
    """Return what is wrong with an engine that is known, for a kind of target that has engines."""
    apptainer = engine == APPTAINER
    if "engine" not in KINDS[kind] or engine == PROCESS or apptainer == (kind == SLURM):
        return None
    ways = (PROCESS, APPTAINER if kind == SLURM else "docker")
    listed = " or ".join(f"`{each}`" for each in ways)
    return f'`{engine}` is none of `kind = "{kind}"`: {listed}'


def _problems_of(name: str, table: tables.TargetTable) -> Iterator[tuple[str, str]]:
    if name in RESERVED:
        yield "", f"`{name}` is a target of perdure's own; choose another name"
    elif not _NAME.fullmatch(name):
        yield "", "a target's name has letters, digits, `.`, `_` and `-` only"
    if not isinstance(table.host, UnsetType) and not _HOST.fullmatch(table.host):
        yield "host", f"`{table.host}` is nothing to give to `ssh`: write `gpubox` or `me@gpubox`"
    if not isinstance(table.root, UnsetType) and (problem := _root_problem(table.root)):
        yield "root", problem
    yield from _slurm_problems(table)
    given = _given(table)
    yield from clouds.problems(given)
    # Of a cloud an image is something else.
    of_cloud = given.get("kind") in clouds.KINDS
    yield from kubernetes.problems(
        {key: each for key, each in given.items() if key != "image" or not of_cloud}
    )


def _slurm_problems(table: tables.TargetTable) -> Iterator[tuple[str, str]]:
    given = _given(table)
    for key in ("partition", "account", "qos"):
        if key in given and not _WORD.fullmatch(given[key]):
            yield key, f"`{given[key]}` is no name that Slurm has"
    if "time" in given and (seconds_in(given["time"]) or 0) < LEAST_TIME_S:
        yield "time", f"`{given['time']}` is no time limit: write `30m`, `8h`, `2d`, `2-12:00:00`"
    for module in given.get("modules", ()):
        if not _MODULE.fullmatch(module):
            yield "modules", f"`{module}` is no name of a module"
    for line in given.get("lines", ()):
        if "\n" in line or "\0" in line:
            yield "lines", f"{line!r} is more than one line"


def _root_problem(root: str) -> str | None:
    if not root.startswith(("/", "~/")):
        return f"`{root}` begins neither with `/` nor with `~/`"
    if ".." in root.split("/"):
        return f"`{root}` has `..` in it"
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in root):
        return "has a control character in it"
    return None


def _over(weaker: tables.TargetTable, stronger: tables.TargetTable) -> tables.TargetTable:
    return msgspec.structs.replace(weaker, **_given(stronger))


def _target(table: tables.TargetTable) -> TargetSettings:
    given = _given(table)
    if given.get("kind", SSH) in clouds.KINDS:
        return clouds.settings_of(given)
    if "root" in given:
        # Without `.`, doubled and final slashes: one folder, one spelling.
        given["root"] = str(PurePosixPath(given["root"]))
    kind = given.get("kind", SSH)
    own = {key: given.pop(key) for key in KINDS[kind] if key in given and key not in KINDS[SSH]}
    if kind == KUBERNETES:
        limit = own.pop("time", None)
        own.setdefault("image", "")  # pushed to the registry, and named then
        own |= {key: tuple(own[key]) for key in ("lines", "tolerations") if key in own}
        made = KubernetesSettings(**own, time_s=None if limit is None else seconds_in(limit))
        return TargetSettings("", kind, KUBERNETES, sync="none", kubernetes=made)
    if kind == SLURM:
        limit = own.pop("time", None)
        own["engine"] = given.get("engine")
        given |= {"host": given.get("host", ""), "engine": SLURM}
        own |= {key: tuple(own[key]) for key in ("lines", "modules") if key in own}
        given["slurm"] = SlurmSettings(**own, time_s=None if limit is None else seconds_in(limit))
    return TargetSettings(**given)


def _given(table: tables.TargetTable) -> dict[str, Any]:
    """Return the keys that somebody wrote."""
    every = ((name, getattr(table, name)) for name in table.__struct_fields__)
    return {name: value for name, value in every if value is not UNSET}
