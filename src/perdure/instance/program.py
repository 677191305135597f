"""The program of a machine that is lent, from its config to its exit code."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from perdure.clouds.opening import open_folder, open_for_lease
from perdure.clouds.side import checkpoints, standing
from perdure.clouds.side.bucket import Bucket
from perdure.clouds.side.lease import Fenced, Lease
from perdure.clouds.side.machine import METADATA, Machine, machine_of, metadata_base
from perdure.clouds.side.order import Config, Order, read_order
from perdure.errors import PerdureError
from perdure.instance import preparing
from perdure.instance.data import bring_data
from perdure.instance.meter import Meter, meter_of
from perdure.instance.turn import Turn
from perdure.moving.address import parse_address
from perdure.runtime import generation, names, settled
from perdure.targets import far, supervisor
from perdure.targets.protocol import Plan

# The machine goes, and another one is to come.
AGAIN = 75
_TRIES = 5
_AFTER_FAILURE_S = 2.0


def main(text: str, root: str) -> int:
    """Run the turn that a config asks for, with the project's folder in `root`.

    Return 0 where no other machine is to follow, 75 where one is.
    """
    config = Config.read(text)
    try:
        return run(config, Path(root), machine_of(config), _say)
    except PerdureError as failure:
        _say(failure.message)
        return 1


def run(config: Config, root: Path, machine: Machine, say: Callable[[str], None]) -> int:
    """Run a turn of a job on this machine; return 0 where no other one is to follow, else 75."""
    bucket = open_folder(parse_address(config.address), config.where)
    wanted = standing.wanted(bucket, config.job)
    order = read_order(bucket, config.job)
    if not wanted.wanted or order is None:
        say(f"`{config.job}` wants no machine")
        return _settle(machine, say)
    newest = next(iter(checkpoints.Shelf(bucket, config.job).committed()), "")
    alone = open_for_lease(parse_address(config.address), config.where)
    lease = Lease(alone, config.job, machine.identity(), order.lease_s)
    lease.take(newest)
    say(f"turn {lease.held.turn} of `{config.job}`, from {newest or 'the beginning'}")
    # While it waited, the job may have come to its end.
    order = read_order(bucket, config.job) or order
    if not standing.wanted(bucket, config.job).wanted:
        lease.release()
        return _settle(machine, say)
    try:
        why = _Turning(config, root, bucket, order, lease, say, machine.kind()).run()
        if why is None:
            lease.release()
            return AGAIN
        standing.settle(bucket, config.job, order.turn, why)
        with contextlib.suppress(Fenced):
            lease.release()
    except Fenced as error:
        say(f"fenced: {error}")
        return AGAIN
    say(f"`{config.job}` is settled: {why}")
    return _settle(machine, say)


@dataclass(frozen=True, slots=True)
class _Turning:
    """A turn whose lease this machine has."""

    config: Config
    root: Path
    bucket: Bucket
    order: Order
    lease: Lease
    say: Callable[[str], None]
    kind: str

    def run(self) -> str | None:
        """Return why the job wants no other machine, None where it does."""
        bucket, job = self.bucket, self.config.job
        run_dir = preparing.bring_folder(bucket, self.root, self.order, job)
        writer, outputs, newest = preparing.bring_history(bucket, job, run_dir, self.say)
        meter = self._metered(run_dir)
        idle = self.lease.held.idle
        if idle > self.order.restarts:
            why = f"{idle} machines in a row made no progress"
            _write_failed(run_dir, why)
            writer.flush()
            return why
        try:
            prefix = self._prepared(run_dir)
        except PerdureError as error:
            self._tell(run_dir, error)
            writer.flush()
            return None
        before = generation.newest(run_dir)
        turn = Turn(bucket, job, self.order, self.lease, writer, outputs, newest, say=self.say)
        turn.tick = meter.tick
        code = turn.run(self.plan(prefix))
        meter.end()
        turn.trying(writer.flush)
        self.say(f"the supervisor ended with {code}")
        if code == names.EXIT_INTERRUPTED and not settled.is_over(run_dir, before):
            return None
        events = settled.ended(run_dir, before)
        return str(events[-1].get("state", "")) if events else f"the supervisor ended with {code}"

    def _tell(self, run_dir: Path, error: PerdureError) -> None:
        """Say where a person looks what failed; the next machine tries again, to a limit."""
        with (run_dir / names.SUPERVISOR_LOG).open("a") as log:
            log.write(f"{self.lease.holder}: {error.message}\n")
        self.say(error.message)

    def _metered(self, run_dir: Path) -> Meter:
        """Return the meter of this machine, which runs from now on."""
        kind, meter = self.kind, meter_of(run_dir, self.lease.held.turn)
        spot, listed = self.order.prices.get(kind, (None, None))
        known = {"market": self.order.market, "spot": spot, "on_demand": listed}
        meter.begin({"machine": self.lease.holder, "kind": kind, **known})
        return meter

    def _prepared(self, run_dir: Path) -> str | None:
        """Return where the job's environment is, None for none; code and data are there, too."""
        preparing.bring_code(self.bucket, self.root, run_dir)
        bring_data(self.bucket, parse_address(self.config.address), self.root, self.say)
        used = self.order.job["environment"]
        return preparing.bring_environment(self.bucket, self.root, used["prefix"], self.say)

    def plan(self, prefix: str | None) -> Plan:
        """Return the supervisor's command, as it is on this machine."""
        root, order = str(self.root), self.order
        digest = supervisor.digest()
        supervisor.unpack(root, digest, supervisor.sources())
        opened = {"root": root, "engine": order.engine, "name": "", "settings": {}}
        job = {**order.job, "results": f"{root}/results"}
        job["environment"] = {**job["environment"], "prefix": prefix}
        job["limits"] = {**job["limits"], "watch": [self.config.cloud]}
        values = far.plan({**opened, "supervisor": digest}, job, order.commands)
        plan = far.plan_of(values)
        at = plan.argv.index("--")
        return replace(plan, argv=(*plan.argv[:at], *_watch(self.config), *plan.argv[at:]))


def _watch(config: Config) -> tuple[str, ...]:
    """Return the supervisor's option for a metadata service that is not where it usually is."""
    usual, found = METADATA[config.cloud], metadata_base(config.cloud)
    return () if found == usual else ("--watch-url", found)


def _write_failed(run_dir: Path, why: str) -> None:
    """Write down that the job failed in an attempt that never began."""
    number = generation.claim(run_dir)
    path = run_dir / names.ATTEMPTS / names.numbered(number, ".jsonl")
    path.parent.mkdir(exist_ok=True)
    ended = {"t": time.time(), "event": "ended", "state": "FAILED", "reason": why, "code": 1}
    path.write_text(json.dumps(ended) + "\n")


def _settle(machine: Machine, say: Callable[[str], None]) -> int:
    """Have no machine follow; return 0. The provider is asked a few times."""
    for _ in range(_TRIES):
        try:
            machine.settle()
        except (OSError, ValueError) as error:
            say(f"the group cannot be set to 0: {error}")
            time.sleep(_AFTER_FAILURE_S)
        else:
            return 0
    return 1


def _say(text: str) -> None:
    sys.stderr.write(f"perdure: {text}\n")
    sys.stderr.flush()
