"""What a cluster says of a project's jobs: one kubectl for all of them, a second old at most.

A cluster that does not answer is asked less and less often, and what it said last stands.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from perdure.errors import EnvironmentFailed, PerdureError
from perdure.hosts.kubectl import Kubectl
from perdure.hosts.pod import NEVER
from perdure.runtime.names import EXIT_INTERRUPTED
from perdure.targets.kubernetes_array import indices, is_array, keys_of, pods_by_index
from perdure.targets.kubernetes_manifest import KEY, PART, PROJECT

EVERY_S = 1.0
LONGEST_PAUSE_S = 15.0
# For so long an image may not be had before nobody waits for it any more.
HOPELESS_S = 600.0
# What is written on a Job that nobody waits for any more.
GIVEN_UP = "perdure.dev/given-up"

Object = Mapping[str, Any]
_OVER = ("Succeeded", "Failed")
# How a pod ends whose job is to go on: there is nothing to say of it.
_BY_ITSELF = f"exit code {EXIT_INTERRUPTED}"


class Word(NamedTuple):
    """What a cluster says of one job: its Job's name; its pod, and the node of that, once it runs.

    `active`: it goes on by itself. `waits` is why it does not run just now, None where it does;
    `ended` what is said of one that goes on no more, or of the pod before, where that did not end
    by itself. `pods` are all that have not ended, `others`
    the Jobs of its other nodes; `element` is which of an array's it is, whose Job is many jobs'.
    """

    name: str
    active: bool
    waits: str | None = None
    pod: str = ""
    node: str = ""
    ended: str = ""
    pods: tuple[str, ...] = ()
    hopeless: str = ""
    element: int | None = None
    others: tuple[str, ...] = ()

    @property
    def jobs(self) -> tuple[str, ...]:
        """Return the names of all its Jobs."""
        return (self.name, *self.others) if self.name else self.others


class Known(NamedTuple):
    """What is known of a project's jobs, by their keys.

    `asked_at` is when that was said (unix seconds, 0: never), `problem` why the cluster has not
    answered since, "" where it has.
    """

    words: Mapping[str, Word]
    asked_at: float
    problem: str


class Queue:
    """The jobs of one project in one cluster, as it said when it was asked last."""

    def __init__(
        self,
        kubectl: Kubectl,
        label: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._kubectl, self._label = kubectl, label
        self._clock, self._now = clock, now
        self._known = Known({}, 0.0, "")
        self._due = -EVERY_S
        self._pause_s = EVERY_S
        self._guard = threading.Lock()

    def known(self, *, fresh: bool = False) -> Known:
        """Return what is known; the cluster is asked if that is older than a second, or `fresh`."""
        with self._guard:
            if fresh or self._clock() >= self._due:
                self._ask()
            return self._known

    def changed(self) -> None:
        """Have the cluster asked when somebody wants to know next."""
        with self._guard:
            self._due = -EVERY_S

    def _ask(self) -> None:
        words = ("get", "jobs,pods", f"--selector={PROJECT}={self._label}")
        try:
            found = self._kubectl.read(*words)
        except (PerdureError, OSError) as error:
            problem = error.message if isinstance(error, PerdureError) else str(error)
            self._known = self._known._replace(problem=problem)
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        else:
            now = self._now()
            self._known = Known(words_in(found.get("items", ()), now), now, "")
            self._pause_s = EVERY_S
        self._due = self._clock() + self._pause_s


_queues: dict[tuple[Kubectl, str], Queue] = {}


def queue_of(kubectl: Kubectl, label: str) -> Queue:
    """Return this process's view of a project's jobs in a cluster."""
    return _queues.setdefault((kubectl, label), Queue(kubectl, label))


def forget() -> None:
    """Forget what every cluster said."""
    _queues.clear()


def words_in(items: Iterable[Object], now: float) -> dict[str, Word]:
    """Return what is said of each job, by its key: the newest of several Jobs that go on. Pure."""
    jobs: dict[str, list[Object]] = {}
    pods: dict[str, list[Object]] = {}
    arrays: list[Object] = []
    for item in items:
        if item.get("kind") != "Pod" and is_array(item):
            arrays.append(item)
            continue
        key = item.get("metadata", {}).get("labels", {}).get(KEY)
        if key is not None:
            (pods if item.get("kind") == "Pod" else jobs).setdefault(key, []).append(item)
    found = {}
    for key in {*jobs, *pods}:
        every = jobs.get(key, [])
        mine = sorted(filter(_leads, every), key=lambda job: (not how_ended(job), _created(job)))
        others = [job for job in every if not (_leads(job) or how_ended(job))]
        word = _word(mine[-1] if mine else None, pods.get(key, ()), now)
        # A node that never comes has all the others wait for it.
        hopeless = (_word(job, pods.get(key, ()), now).hopeless for job in others)
        word = word._replace(hopeless=next(filter(None, (word.hopeless, *hopeless)), ""))
        found[key] = word._replace(others=tuple(str(job["metadata"]["name"]) for job in others))
    for array in arrays:
        found.pop(str(array["metadata"]["labels"].get(KEY)), None)
        for key, word in _words_of(array, pods, now).items():
            # What was handed over by itself, later, goes on by that.
            if not (key in found and found[key].active):
                found[key] = word
    return found


def _words_of(job: Object, pods: Mapping[str, Sequence[Object]], now: float) -> dict[str, Word]:
    """Return what is said of each of the jobs in an array, by their keys."""
    name, status = str(job["metadata"]["name"]), job.get("status", {})
    every = pods_by_index(pods.get(str(job["metadata"]["labels"].get(KEY)), ()))
    done, failed = indices(status.get("completedIndexes")), indices(status.get("failedIndexes"))
    found = {}
    for index, key in enumerate(keys_of(job)):
        mine = every.get(index, [])
        if index in done or index in failed:
            live = [pod for pod in mine if pod["status"].get("phase") not in _OVER]
            left = tuple(str(pod["metadata"]["name"]) for pod in live)
            said = "Kubernetes: Complete" if index in done else f"Kubernetes: {_last_end(mine)}"
            word = Word(name, active=False, ended=said, pods=left)
        else:
            word = _word(job, mine, now)
        found[key] = word._replace(element=index)
    return found


def _leads(item: Object) -> bool:
    """Return whether it is the only node of its job, or the first of several."""
    return str(item["metadata"]["labels"].get(PART, "0")) == "0"


def _created(item: Object) -> str:
    return str(item["metadata"].get("creationTimestamp", ""))


def how_ended(job: Object) -> str:
    """Return how a Job ended, "" while it goes on."""
    for each in job.get("status", {}).get("conditions") or ():
        if each.get("type") in ("Complete", "Failed") and each.get("status") == "True":
            return str(each.get("reason") or each["type"])
    return ""


def _word(job: Object | None, every: Sequence[Object], now: float) -> Word:
    live = [pod for pod in every if pod["status"].get("phase") not in _OVER]
    left = tuple(str(pod["metadata"]["name"]) for pod in live)
    if job is None:
        return Word("", active=False, ended="Kubernetes has it no more", pods=left)
    name = str(job["metadata"]["name"])
    # Pods of an earlier submission may still be there; how they ended is not said of this one.
    its = [pod for pod in every if pod["metadata"]["labels"].get("job-name") == name]
    mine = [pod for pod in its if pod in live]
    staying = [pod for pod in mine if "deletionTimestamp" not in pod["metadata"]]
    last = _last_end([pod for pod in its if _leads(pod)])
    ended = how_ended(job)
    given_up = job["metadata"].get("annotations", {}).get(GIVEN_UP)
    if ended or given_up:
        more = f" ({last})" if last and ended != "Complete" else ""
        said = f"Kubernetes: {given_up or f'{ended}{more}'}"
        return Word(name, active=False, ended=said, pods=left)
    if "deletionTimestamp" in job["metadata"]:
        return Word(name, active=bool(mine), ended="Kubernetes deletes it", pods=left)
    pod = max(staying or mine, key=_created, default=None)
    if pod is None:
        suspended = job["spec"].get("suspend")
        waits = "Suspended" if suspended else last or "no pod yet"
        return Word(name, active=True, waits=waits, pods=left)
    before = "" if last == _BY_ITSELF else last
    return _of_pod(Word(name, active=True, pods=left, ended=before), pod, now)


def _of_pod(word: Word, pod: Object, now: float) -> Word:
    status, spec = pod["status"], pod["spec"]
    found = word._replace(pod=str(pod["metadata"]["name"]), node=str(spec.get("nodeName", "")))
    if status.get("phase") == "Running":
        return found
    waits = why_pending(status)
    reason = waits.partition(":")[0]
    hopeless = waits if reason in NEVER and _age_s(pod, now) > HOPELESS_S else ""
    return found._replace(waits=reason or "starts", hopeless=hopeless)


def why_pending(status: Object) -> str:
    """Return why a pod does not run yet: `REASON: what is said of it`. Pure."""
    for each in status.get("containerStatuses") or ():
        waiting = each.get("state", {}).get("waiting")
        if waiting:
            return f"{waiting.get('reason', '')}: {waiting.get('message', '')}".rstrip(": ")
    for each in status.get("conditions") or ():
        if each.get("type") == "PodScheduled" and each.get("status") == "False":
            return f"{each.get('reason', '')}: {each.get('message', '')}".rstrip(": ")
    return ""


def _age_s(pod: Object, now: float) -> float:
    """Return for how long a pod has had its node: before that nobody asked for its image."""
    import datetime as dt

    conditions = pod["status"].get("conditions") or ()
    since = [each for each in conditions if each.get("type") == "PodScheduled"]
    try:
        had = dt.datetime.fromisoformat(str(since[0]["lastTransitionTime"]))
    except (IndexError, KeyError, ValueError):
        return 0.0
    return now - had.timestamp()


def _last_end(pods: Sequence[Object]) -> str:
    """Return how the newest pod that has ended did: `OOMKilled`, `Evicted`, `exit code 75`."""
    over = [pod for pod in pods if pod["status"].get("phase") == "Failed"]
    if not over:
        return ""
    status = max(over, key=_created)["status"]
    if status.get("reason"):
        return str(status["reason"])
    for each in status.get("containerStatuses") or ():
        end = each.get("state", {}).get("terminated") or {}
        if end.get("reason") not in (None, "Error"):
            return str(end["reason"])
        if "exitCode" in end:
            return f"exit code {end['exitCode']}"
    return "its pod failed"


def require_answer(known: Known) -> None:
    """Return if the cluster answers.

    Raises:
        EnvironmentFailed: it does not.
    """
    if known.problem:
        raise EnvironmentFailed(known.problem, hint="try again in a minute")
