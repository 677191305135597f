"""What differs between two jobs, and whether they came to the same."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from perdure.jobs.folder import ENVIRONMENT_LOCK
from perdure.jobs.provenance import PARTIAL
from perdure.jobs.source import read_tree_of
from perdure.model.job import EnvironmentUsed, JobRecord
from perdure.runtime import names


class Aspect(Enum):
    """What two jobs may differ in."""

    CODE = "code"
    ENVIRONMENT = "environment"
    ARGUMENTS = "arguments"
    SEED = "seed"
    DATA = "data"
    MACHINE = "machine"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not the same: "" where a side has it not."""

    aspect: Aspect
    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Differences:
    """All that differs between two jobs, by aspect; `unknown` are aspects nobody can tell of."""

    items: tuple[Difference, ...]
    unknown: tuple[Aspect, ...] = ()

    @property
    def none(self) -> bool:
        """Return whether nothing differs."""
        return not self.items

    def of(self, aspect: Aspect) -> tuple[Difference, ...]:
        """Return what differs in one aspect."""
        return tuple(item for item in self.items if item.aspect is aspect)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Whether two jobs came to the same; `reason` says what is different, or why nobody can say."""

    same: bool
    reason: str
    weights: str = ""
    rows: int = 0


def why(before: JobRecord, after: JobRecord) -> Differences:
    """Return what differs between two jobs. Reads their run folders."""
    items = [
        *_code(before, after),
        *_environment(before, after),
        *_arguments(before, after),
        *_fields(Aspect.SEED, {"seed": str(before.seed)}, {"seed": str(after.seed)}),
        *_data(before, after),
        *_fields(Aspect.MACHINE, _machine(before), _machine(after)),
    ]
    partial = before.data.digest.endswith(PARTIAL) or after.data.digest.endswith(PARTIAL)
    return Differences(tuple(items), (Aspect.DATA,) if partial else ())


def same_result(before: JobRecord, after: JobRecord) -> Comparison:
    """Return whether two jobs came to the same weights and metrics. Reads their run folders."""
    from perdure.runtime.metrics import read_rows
    from perdure.runtime.result import read_result

    first, second = read_result(str(before.folder)), read_result(str(after.folder))
    if first is None or second is None:
        missing = before.job if first is None else after.job
        return Comparison(False, f"`{missing}` saved nothing that could be compared")
    if first.step != second.step:
        return Comparison(False, f"step {first.step} against {second.step}")
    if first.weights != second.weights and first.tensors != second.tensors:
        return Comparison(False, f"weights: {_first_tensor(first.tensors, second.tensors)}")
    rows = zip(read_rows(str(before.folder)), read_rows(str(after.folder)), strict=False)
    if first.metrics != second.metrics:
        row = next((mine for mine, theirs in rows if mine != theirs), None)
        step = "their number" if row is None else f"first at step {row.get('step')}"
        return Comparison(False, f"metrics: {step}")
    one, other = ((end.weights, end.tensors, end.tree) for end in (first, second))
    if one != other:
        return Comparison(False, "tracked values other than tensors, or random numbers")
    return Comparison(True, "", first.weights, first.rows)


def _code(before: JobRecord, after: JobRecord) -> Iterator[Difference]:
    if before.code.digest and before.code.digest == after.code.digest:
        return
    one, other = read_tree_of(before), read_tree_of(after)
    if one is not None and other is not None:
        trees = [
            {path: f"{entry.kind} {entry.content[:12]}" for path, entry in tree.entries.items()}
            for tree in (one, other)
        ]
        yield from _fields(Aspect.CODE, trees[0], trees[1])
        return
    # Without the lists of files, what git knew is left.
    yield from _fields(Aspect.CODE, _revision(before), _revision(after))


def _revision(record: JobRecord) -> Mapping[str, str]:
    try:
        patch = (record.folder / names.PATCH_FILE).read_bytes()
    except OSError:
        patch = b""
    return {
        "commit": record.code.commit or "",
        "uncommitted changes": f"{len(patch.splitlines())} lines" if patch else "",
        "contents": record.code.digest,
    }


def _environment(before: JobRecord, after: JobRecord) -> Iterator[Difference]:
    one, other = before.environment, after.environment
    yield from _fields(
        Aspect.ENVIRONMENT,
        {"python": one.python, "variant": one.variant or "", **_image(one)},
        {"python": other.python, "variant": other.variant or "", **_image(other)},
    )
    if one.lock == other.lock:
        return
    first, second = _packages(before.folder), _packages(after.folder)
    if first is not None and second is not None:
        found = list(_fields(Aspect.ENVIRONMENT, first, second))
        if found:
            yield from found
            return
    yield Difference(Aspect.ENVIRONMENT, "lock", one.lock or "", other.lock or "")


def _image(used: EnvironmentUsed) -> Mapping[str, str]:
    image = used.image
    if image is None:
        return {}
    user = f"{image.user_id}:{image.group_id}"
    return {"image": image.tag, "image's contents": image.id, "user": user}


def _packages(folder: Path) -> Mapping[str, str] | None:
    """Return the versions by package of a run folder's lock, None where it cannot be read."""
    try:
        lock = tomllib.loads((folder / ENVIRONMENT_LOCK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    versions: dict[str, list[str]] = {}
    for package in lock.get("package", []):
        versions.setdefault(package.get("name", ""), []).append(package.get("version", ""))
    return {name: ", ".join(sorted(found)) for name, found in versions.items()}


def _arguments(before: JobRecord, after: JobRecord) -> Iterator[Difference]:
    import shlex

    one = {"command": shlex.join(before.command), "arguments": shlex.join(before.arguments)}
    other = {"command": shlex.join(after.command), "arguments": shlex.join(after.arguments)}
    yield from _fields(Aspect.ARGUMENTS, one, other)
    yield from _fields(Aspect.ARGUMENTS, before.variables, after.variables)


def _data(before: JobRecord, after: JobRecord) -> Iterator[Difference]:
    if before.data.digest == after.data.digest:
        return
    found = list(_fields(Aspect.DATA, before.data.entries, after.data.entries))
    if found:
        yield from found
    else:
        yield Difference(Aspect.DATA, "data", before.data.digest, after.data.digest)


def _machine(record: JobRecord) -> Mapping[str, str]:
    machine, resources = record.machine, record.resources
    limits = {
        "limit of GPUs": str(resources.gpus or ""),
        "limit of memory": str(resources.memory_bytes or ""),
        "limit of processors": str(resources.cpus or ""),
        "shared memory": str(resources.shm_bytes or ""),
        "limit of time": str(resources.time_s or ""),
        "nodes": str(resources.nodes),
    }
    return {
        "target": record.target,
        **limits,
        "host": machine.host,
        "os": machine.os,
        "cpu": machine.cpu,
        "cores": str(machine.cores),
        "memory": f"{machine.memory_gib:g} GiB",
        "gpus": ", ".join(machine.gpus),
        "perdure": record.versions.perdure,
    }


def _fields(
    aspect: Aspect, before: Mapping[str, str], after: Mapping[str, str]
) -> Iterator[Difference]:
    for name in sorted({*before, *after}):
        one, other = before.get(name, ""), after.get(name, "")
        if one != other:
            yield Difference(aspect, name, one, other)


def _first_tensor(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    # What is tracked first: a random generator's state says nothing about the weights.
    names = sorted({*before, *after}, key=lambda name: (not name.startswith("items/"), name))
    name = next((n for n in names if before.get(n) != after.get(n)), "")
    return f"first `{name}`"
