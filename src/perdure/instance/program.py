"""The program of a machine that is lent, from its config to its exit code."""

from __future__ import annotations

import contextlib
import functools
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from perdure.clouds.opening import open_folder, open_for_lease
from perdure.clouds.side import checkpoints, log, standing
from perdure.clouds.side.bucket import Bucket
from perdure.clouds.side.lease import Fenced, Lease
from perdure.clouds.side.machine import METADATA, Machine, machine_of, metadata_base
from perdure.clouds.side.order import Config, Order, read_order
from perdure.errors import PerdureError
from perdure.instance import contained, last_words, preparing
from perdure.instance.beating import kept
from perdure.instance.data import bring_data
from perdure.instance.door import Doorkeeper
from perdure.instance.engine import ensure_engine
from perdure.instance.meter import Meter, meter_of
from perdure.instance.turn import GivenUp, Turn
from perdure.moving.address import parse_address
from perdure.moving.bucket import explained
from perdure.runtime import generation, names, settled
from perdure.targets import far, supervision, supervisor
from perdure.targets.protocol import Plan
from perdure.targets.refusal import refusal

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
    bucket = open_folder(parse_address(config.address), config.where, is_own=config.is_own)
    wanted = standing.wanted(bucket, config.job)
    order = read_order(bucket, config.job)
    if not wanted.wanted or order is None:
        say(f"`{config.job}` wants no machine")
        return _settle(machine, say)
    newest = next(iter(checkpoints.Shelf(bucket, config.job).committed()), "")
    alone = open_for_lease(parse_address(config.address), config.where, is_own=config.is_own)
    lease = Lease(alone, config.job, machine.identity(), order.lease_s)
    lease.take(newest, order.turn)
    say(f"turn {lease.held.turn} of `{config.job}`, from {newest or 'the beginning'}")
    # While it waited, the job may have come to its end.
    order = read_order(bucket, config.job) or order
    if not standing.wanted(bucket, config.job).wanted:
        lease.release()
        return _settle(machine, say)
    try:
        why = _Turning(config, root, bucket, order, lease, say, machine).run()
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


@dataclass(slots=True)
class _Turning:
    """A turn whose lease this machine has; what it has of it is known bit by bit."""

    config: Config
    root: Path
    bucket: Bucket
    order: Order
    lease: Lease
    say: Callable[[str], None]
    machine: Machine
    writer: log.Writer | None = None
    meter: Meter | None = None
    #: How a command is run beside the job, once that is known: see `perdure.instance.entering`.
    inside: dict[str, Any] = field(default_factory=dict)

    def run(self) -> str | None:
        """Return why the job wants no other machine, None where it does.

        Whatever goes wrong is told in the job's log, and the next machine tries again, to a limit.

        Raises:
            Fenced: another machine has the job.
        """
        # Before anything is brought: that may be what ended the machines before.
        if (idle := self.lease.held.idle) > self.order.restarts:
            return self._without_progress(f"{idle} machines in a row made no progress")
        try:
            return self._turn()
        except Fenced:
            raise
        except GivenUp as error:
            return self._failed(str(error))
        except Exception as error:  # noqa: BLE001 - a machine that says nothing is no use to anybody
            self._tell(error)
            return None

    def _turn(self) -> str | None:
        bucket, job = self.bucket, self.config.job
        with kept(self.lease, self._tick):
            run_dir = preparing.bring_folder(bucket, self.root, self.order, job)
            self.writer = writer = log.begin(bucket, job, run_dir)
            self.meter = self._metered(run_dir)
            # Paid for, whatever becomes of it.
            writer.flush()
            outputs, newest = preparing.bring_history(bucket, job, run_dir, self.say)
            plan, end = self._prepared(run_dir)
        turn = Turn(bucket, job, self.order, self.lease, writer, outputs, newest, say=self.say)
        turn.tick, turn.end, turn.explain, outputs.warn = self._tick, end, self._words, turn.note
        with self._door() as turn.mind_door:
            return self._ended(turn, plan)

    @contextlib.contextmanager
    def _door(self) -> Iterator[Callable[[], None] | None]:
        """Yield what looks after the door of this machine, None if it is to have none."""
        if not self.order.door:
            yield None
            return
        # As short-lived as questions and answers about the lease are.
        bucket, folder = self.lease.bucket, self.root.parent / "door"
        keeper = Doorkeeper(bucket, self.config.job, folder, self.machine.address, self.inside)
        try:
            yield keeper.mind
        finally:
            keeper.close()

    def _ended(self, turn: Turn, plan: Plan) -> str | None:
        """Return how a turn that has been prepared settled the job, None where it did not."""
        run_dir, before = turn.run_dir, generation.newest(turn.run_dir)
        code = turn.run(plan)
        self.say(f"the supervisor ended with {code}")
        if self.meter is not None:
            turn.trying(self.meter.end)
        unbegun = turn.end is not None and generation.newest(run_dir) == before
        if unbegun and turn.stopped:
            return None  # the machine went while its engine was still making the container
        turn.trying(turn.writer.flush)
        if unbegun:
            said = supervision.last_words(run_dir / names.SUPERVISOR_LOG) or ""
            self._failed(refusal(self.config.job, code, said).message)
            return "FAILED"
        return why_settled(run_dir, before, code)

    def _without_progress(self, why: str) -> str:
        """Return why the job has failed, in the words of the machine before where it had any."""
        said = ""
        with contextlib.suppress(Exception):
            said = last_words.told(self.bucket, self.config.job, self.lease.previous)
        return self._failed(f"{why}; the last one: {said}" if said else why)

    def _failed(self, why: str) -> str:
        """Return why the job has failed, which is written down as far as the bucket lets us."""
        self._flush()
        self._surely(lambda: last_words.write_failed(self.bucket, self.config.job, why))
        return why

    def _tell(self, error: Exception) -> None:
        text = self._words(error)
        self.say(text)
        if not isinstance(error, PerdureError):
            self.say("".join(traceback.format_exception(error)))
        self._flush()
        holder = self.lease.holder
        self._surely(lambda: last_words.tell(self.bucket, self.config.job, holder, text))

    def _flush(self) -> None:
        if self.writer is not None:
            self._surely(self.writer.flush)

    def _surely(self, act: Callable[[], object]) -> None:
        """Do something as well as it can be done. Raises `Fenced` alone."""
        try:
            act()
        except Fenced:
            raise
        except Exception as error:  # noqa: BLE001 - the error before this one is what counts
            self.say(self._words(error))

    def _words(self, error: Exception) -> str:
        """Return what a person is told of an error."""
        from obstore.exceptions import BaseError

        if isinstance(error, BaseError):
            # Of what the library says some could be an address with a signature.
            error = explained(parse_address(self.config.address), "read or write", error)
        if isinstance(error, PerdureError):
            return error.message
        return f"{type(error).__name__}: {error}"

    def _tick(self) -> None:
        if self.meter is not None:
            self.meter.tick()

    def _metered(self, run_dir: Path) -> Meter:
        """Return the meter of this machine, which runs from now on."""
        meter = meter_of(run_dir, self.lease.held.turn)
        try:
            kind = self.machine.kind()
        except (OSError, ValueError) as error:
            kind = ""  # it costs what it costs
            self.say(f"the machine's type is not known: {error}")
        spot, listed = self.order.prices.get(kind, (None, None))
        known = {"market": self.order.market, "spot": spot, "on_demand": listed}
        meter.begin({"machine": self.lease.holder, "kind": kind, **known})
        return meter

    def _prepared(self, run_dir: Path) -> tuple[Plan, Callable[[], None] | None]:
        """Return the supervisor's command as it is on this machine, and what ends its container.

        Code, data and environment are there then. None: there is no container.
        """
        preparing.bring_code(self.bucket, self.root, run_dir)
        bring_data(self.bucket, parse_address(self.config.address), self.root, self.say)
        used = self.order.job["environment"]
        if used.get("image") is not None:
            return self._contained(used["image"]["id"])
        prefix = used["prefix"]
        prefix = preparing.bring_environment(self.bucket, self.root, prefix, self.say)
        return self.plan(prefix), None

    def _contained(self, known: str) -> tuple[Plan, Callable[[], None]]:
        """Return the command of the job's container, and what ends that, once the image is here."""
        find = functools.partial(ensure_engine, self.say)
        engine, called = contained.bring_image(self.bucket, self.root, known, find, self.say)
        job = contained.with_image(self._job(), called)
        self.inside = {"there": self._there(), "job": job, "commands": {}}
        end = functools.partial(contained.end, engine, self.root, job["job"])
        return self._watching(contained.planned(self.root, engine, job)), end

    def plan(self, prefix: str | None) -> Plan:
        """Return the supervisor's command in the environment in `prefix`, None: with none."""
        root, order = str(self.root), self.order
        supervisor.unpack(root, supervisor.digest(), supervisor.sources())
        job = self._job()
        job["environment"] = {**job["environment"], "prefix": prefix}
        self.inside = {"there": self._there(), "job": job, "commands": order.commands}
        return self._watching(far.plan_of(far.plan(**self.inside)))

    def _there(self) -> dict[str, Any]:
        """Return what the adapter of this machine's own jobs is opened with."""
        opened = {"root": str(self.root), "engine": self.order.engine, "name": "", "settings": {}}
        return {**opened, "supervisor": supervisor.digest()}

    def _job(self) -> dict[str, Any]:
        """Return the job's values, as they are on this machine."""
        job = {**self.order.job, "results": f"{self.root}/results"}
        return {
            **job,
            "limits": {**job["limits"], "watch": list(filter(None, [self.machine.watched]))},
        }

    def _watching(self, plan: Plan) -> Plan:
        """Return a plan whose supervisor asks the metadata service that there is."""
        at = plan.argv.index("--")
        return replace(plan, argv=(*plan.argv[:at], *_watch(self.machine.watched), *plan.argv[at:]))


def why_settled(run_dir: Path, before: int, code: int) -> str | None:
    """Return how attempts after the generation `before` settled a job, None where they did not.

    What an attempt has written down counts, and not `code`, the supervisor's: where its machine is
    turned off, a signal may reach that when all is said.
    """
    events = settled.ended(run_dir, before)
    if settled.is_over(run_dir, before):
        return str(events[-1].get("state", ""))
    if events or code in (names.EXIT_INTERRUPTED, -signal.SIGTERM):
        return None
    return f"the supervisor ended with {code}"


def _watch(cloud: str) -> tuple[str, ...]:
    """Return the supervisor's option for a metadata service that is not where it usually is."""
    if not cloud:
        return ()
    usual, found = METADATA[cloud], metadata_base(cloud)
    return () if found == usual else ("--watch-url", found)


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
