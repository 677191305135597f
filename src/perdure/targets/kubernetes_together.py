"""Many jobs handed over to a Kubernetes at once: see `kubernetes_array`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence

from perdure.errors import HostUnreachable
from perdure.hosts.kubectl import Refused
from perdure.model.job import JobRecord
from perdure.model.yaml import as_yaml
from perdure.targets import kubernetes_array as arrays
from perdure.targets import kubernetes_manifest as manifests
from perdure.targets import kubernetes_ticket as tickets
from perdure.targets import supervisor
from perdure.targets.kubernetes import Kubernetes
from perdure.targets.kubernetes_cluster import how_ended, require_answer
from perdure.targets.kubernetes_listing import user_name
from perdure.targets.kubernetes_submission import LOOK_S, SUBMIT_S, refusal

_POLL_S = 0.3


def free(target: Kubernetes, records: Sequence[JobRecord]) -> int:
    """Return how many of the first jobs the cluster has not, and nobody is about to have run.

    Raises:
        HostUnreachable: nobody can say.
        EnvironmentFailed: the cluster does not answer.
    """
    # The cluster first: what it has not by then, it gets no more without a ticket that says so.
    known = target.queue.known(fresh=True)
    require_answer(known)
    held = target.host.call(tickets.held, [target.place.path(each.folder) for each in records])
    for number, record in enumerate(records):
        word = known.words.get(target.key(record.folder))
        if held[number] and word is not None and word.active:
            return number
    return len(records)


def submit_array(
    target: Kubernetes,
    order: arrays.Order,
    records: Sequence[JobRecord],
    release: tuple[int, int],
    *,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Hand jobs over whose run folders are there, in the order that `order` names them in.

    Raises:
        HostUnreachable: the cluster does not answer, and has not taken them.
        EnvironmentFailed: it refuses them.
        UsageError: a line of the user's has no place.
    """
    named = supervisor.digest()
    main = supervisor.folder(target.station.root, named) / supervisor.MAIN
    run_dirs = [target.place.path(each.folder) for each in records]
    if not target.host.call(tickets.look, run_dirs[0], str(main))["main"]:
        target.host.call(supervisor.unpack, target.station.root, named, supervisor.sources())
    afters = target.host.call(tickets.newest, run_dirs)
    program = ("python3", "-I", "-S", str(main))
    made = arrays.manifest(order, program, target.settings, target.spec, release, user_name())
    folder = f"{target.station.root}/{order.folder}"
    turns = _turns(target, order, records, afters)
    held = dict(zip(run_dirs, afters, strict=True))
    target.host.call(tickets.hold_array, folder, turns, order.name, held)
    try:
        _create(target, as_yaml(made), pause)
    except Refused as error:
        target.host.call(tickets.release_all, run_dirs)
        raise refusal(error) from error
    finally:
        target.queue.changed()


def throttle(target: Kubernetes, sweep: str, most_running: int) -> None:
    """Have the Jobs of a sweep run so many of their indices at a time, 0: any number.

    Asks the cluster. A Job that has ended is left as it is.

    Raises:
        EnvironmentFailed: the cluster does not answer, or refuses.
        HostUnreachable: as above.
    """
    label = manifests.project_label(target.station.root)
    found = target.kubectl.read("get", "jobs", f"--selector={manifests.PROJECT}={label}")
    for job in found.get("items", ()):
        wanted = arrays.parallelism(job, sweep, most_running)
        if wanted is not None and not how_ended(job):
            patch = json.dumps({"spec": {"parallelism": wanted}})
            target.kubectl.ask("patch", "job", job["metadata"]["name"], f"--patch={patch}")


def _turns(
    target: Kubernetes, order: arrays.Order, records: Sequence[JobRecord], afters: Sequence[int]
) -> dict[str, object]:
    fixed = len(order.base.arguments)
    trials = [
        (each.job, each.seed, after, each.arguments[fixed:])
        for each, after in zip(records, afters, strict=True)
    ]
    results = target.place.path(records[0].results)
    # The base is a record of the sweep's: where each trial's run folder is, its own words say.
    return arrays.turns(
        order, results, target.options(order.base), target.command(order.base), trials
    )


def _create(target: Kubernetes, text: str, pause: Callable[[float], None]) -> None:
    """Return once the cluster has the Job. Raises Refused, or HostUnreachable after a while."""
    deadline = time.monotonic() + LOOK_S
    while True:
        try:
            target.kubectl.ask("create", "--filename=-", stdin=text, timeout_s=SUBMIT_S)
        except HostUnreachable:
            # It may have it all the same: then that is said next.
            if time.monotonic() > deadline:
                raise
            pause(_POLL_S)
            continue
        except Refused as error:
            if "already exists" not in error.message:
                raise
        return
