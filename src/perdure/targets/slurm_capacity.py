"""What a cluster has: partitions and nodes, from sinfo's text.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Optional

from perdure.errors import PerdureError, UsageError
from perdure.model.duration import clock_words
from perdure.model.job import Resources
from perdure.model.settings import SlurmSettings
from perdure.targets import slurm_script as scripts
from perdure.targets.slurm_queue import ask, require_answer, seconds_said

# Partition (its `*`: the default one), node, state, processors (used/idle/other/all), MiB of
# memory, MiB free, the limit of time, what a job gets that says none, GPUs and others, those in
# use.
_FORMAT = (
    "--Format=Partition:64,NodeList:64,StateLong:32,CPUsState:32,Memory:20,AllocMem:20,Time:20,"
    "DefaultTime:20,Gres:200,GresUsed:200"
)
_WIDTHS = (64, 64, 32, 32, 20, 20, 20, 20, 200, 200)
_GPUS = re.compile(r"gpu(?::[^:,(]+)?:(\d+)")
_LATELY_S = 5.0
_AWAY = ("down", "drain", "fail", "maint", "unknown", "power", "not_resp", "inval")


class Node(NamedTuple):
    """A node in one of its partitions; memory in MiB.

    `time_s` is the partition's limit, if any, and `usual_s` what a job gets of it that says none.
    """

    partition: str
    default: bool
    name: str
    state: str
    cpus: int
    cpus_free: int
    memory: int
    memory_free: int
    gpus: int
    gpus_free: int
    time_s: Optional[float]  # noqa: UP045 - Python 3.9
    usual_s: Optional[float]  # noqa: UP045 - Python 3.9

    @property
    def takes_jobs(self) -> bool:
        """Return whether jobs can be started on it."""
        return not self.state.endswith("*") and not any(each in self.state for each in _AWAY)


def read_nodes() -> list[Node]:
    """Return the nodes of all partitions. Asks Slurm.

    Raises:
        SchedulerUnreachable: it does not answer.
        MissingProgram: there is none here.
    """
    require_answer()
    return parse(ask(("sinfo", "--noheader", "--Node", _FORMAT)))


class Nodes:
    """The nodes as they were some seconds ago at most: what they have does not change soon.

    One for a process; any thread may use it.
    """

    def __init__(self, read: Callable[[], list[Node]] = read_nodes) -> None:
        self._read = read
        self._guard = threading.Lock()
        self._at = float("-inf")
        self._nodes: list[Node] = []
        self._error: Optional[PerdureError] = None  # noqa: UP045 - Python 3.9

    def lately(self) -> list[Node]:
        """Return the nodes. Asks Slurm if that was not just done; raises as `read_nodes`."""
        with self._guard:
            self._ask()
            if self._error is not None:
                # It is told once: who tries again has Slurm asked again.
                self._at = float("-inf")
                raise self._error
            return self._nodes

    def ask_ahead(self) -> None:
        """Have Slurm asked while this process is busy: `lately` says what came of it."""
        threading.Thread(target=self._ask_aside, daemon=True).start()

    def _ask_aside(self) -> None:
        with self._guard:
            self._ask()

    def _ask(self) -> None:
        if time.monotonic() - self._at <= _LATELY_S:
            return
        try:
            self._nodes, self._error = self._read(), None
        except PerdureError as error:
            self._nodes, self._error = [], error
        self._at = time.monotonic()


NODES = Nodes()


def parse(text: str) -> list[Node]:
    """Return the nodes in sinfo's columns. Pure."""
    found = []
    for line in text.splitlines():
        cells, at = [], 0
        for width in _WIDTHS:
            cells.append(line[at : at + width].strip())
            at += width
        if cells[0] and cells[1]:
            found.append(_node(cells))
    return found


def _node(cells: Sequence[str]) -> Node:
    partition, name, state, cpus, memory, used, limit, usual, gres, gres_used = cells
    idle, whole = ([*cpus.split("/"), "0", "0", "0"][at] for at in (1, 3))
    gpus, busy = _gpus(gres), _gpus(gres_used)
    return Node(
        partition.rstrip("*"),
        partition.endswith("*"),
        name,
        state,
        _number(whole),
        _number(idle),
        _number(memory),
        max(0, _number(memory) - _number(used)),
        gpus,
        max(0, gpus - busy),
        seconds_said(limit),
        seconds_said(usual) or seconds_said(limit),
    )


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _gpus(text: str) -> int:
    return sum(int(each) for each in _GPUS.findall(text))


def of_partition(settings: SlurmSettings, nodes: Sequence[Node]) -> list[Node]:
    """Return the nodes that a target's jobs can get. Pure."""
    if settings.partition is None:
        return [node for node in nodes if node.default] or list(nodes)
    # Slurm takes several, and starts the job in the one that can have it first.
    wanted = settings.partition.split(",")
    return [node for node in nodes if node.partition in wanted]


def require_partition(settings: SlurmSettings, nodes: Sequence[Node]) -> None:
    """Return if there is the partition. Pure.

    Raises:
        UsageError: there is none of that name.
    """
    known = sorted({node.partition for node in nodes})
    for name in (settings.partition or "").split(","):
        if name and name not in known:
            import difflib

            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean `{near[0]}`?" if near else f"partitions: {', '.join(known)}"
            raise UsageError(f"Slurm has no partition `{name}`", hint=hint)


def require(settings: SlurmSettings, resources: Resources, nodes: Sequence[Node]) -> None:
    """Return if some node has what is asked for, once it is free. Pure.

    Raises:
        UsageError: none has, or there is no such partition.
    """
    require_partition(settings, nodes)
    if resources.gpus == "all":
        raise UsageError(
            "`--gpus all`: a scheduler wants a number",
            hint="--gpus 1; perdure capacity --on TARGET",
        )
    if resources.shm_bytes is not None:
        raise UsageError(
            "Slurm gives a job all of its node's /dev/shm", hint="leave out --shm-size"
        )
    mine = of_partition(settings, nodes)
    where = f" in `{settings.partition}`" if settings.partition else ""
    wanted = (
        (int(resources.gpus), [node.gpus for node in mine], "GPUs"),
        (scripts.whole_cpus(resources), [node.cpus for node in mine], "processors"),
        (scripts.mebibytes(resources.memory_bytes or 0), [n.memory for n in mine], "MiB of memory"),
    )
    for number, had, what in wanted:
        if had and number > max(had):
            most = max(had)
            raise UsageError(
                f"no node{where} has {number} {what}: the most is {most}",
                hint="perdure capacity --on TARGET",
            )
    _require_nodes(resources, len({node.name for node in mine}), where)
    _require_time(settings, resources, mine)


def _require_nodes(resources: Resources, together: int, where: str) -> None:
    if resources.nodes > together:
        raise UsageError(
            f"{resources.nodes} nodes are asked for, and there are {together}{where}",
            hint="perdure capacity --on TARGET",
        )


def _require_time(settings: SlurmSettings, resources: Resources, mine: Sequence[Node]) -> None:
    limit_s = scripts.time_limit_s(settings, resources)
    most = [node.time_s for node in mine]
    if limit_s is None or not most or None in most:
        return
    longest = max(each for each in most if each is not None)
    if limit_s > longest:
        raise UsageError(
            f"a time limit of {clock_words(limit_s)} is more than the partition's, "
            f"{clock_words(longest)}",
            hint=f"--time {longest / 60:g}m: a job goes on in as many turns as it needs",
        )


def usual_s(settings: SlurmSettings, nodes: Sequence[Node]) -> Optional[float]:  # noqa: UP045 - Python 3.9
    """Return how long a job may run that says nothing, in seconds; None: without limit. Pure.

    Of several partitions the longest: which of them takes a job is not known yet.
    """
    usual = [node.usual_s for node in of_partition(settings, nodes)]
    return None if None in usual else max(filter(None, usual), default=None)


def summary(settings: SlurmSettings) -> str:
    """Return what a target is in words. Asks Slurm."""
    version = ask(("sinfo", "--version")).strip()
    nodes = {node.name: node for node in of_partition(settings, read_nodes())}
    gpus = sum(node.gpus for node in nodes.values())
    return f"{version}, {len(nodes)} nodes, {gpus} GPUs"
