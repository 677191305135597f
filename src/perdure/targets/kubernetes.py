"""Jobs of a Kubernetes cluster: a supervisor as the first process of a pod, one pod at a time.

The cluster is asked through the user's own kubectl, from this machine; the project lies on a
volume, and what is in it is reached through a small pod that has the volume, too. What is told of a
job is in its run folder there; whether it goes on, the cluster says.
"""

from __future__ import annotations

import contextlib
import errno
import signal as signals
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perdure.errors import (
    ConflictError,
    EnvironmentFailed,
    HostUnreachable,
    PerdureError,
    TimeoutExpired,
    UsageError,
)
from perdure.hosts import local, pod_spec
from perdure.hosts.kubectl import Kubectl
from perdure.hosts.pod import Pod
from perdure.hosts.pod_spec import PodSpec, read_destination, require_person
from perdure.model.job import Event, ImageUsed, JobRecord, Resources
from perdure.model.settings import KubernetesSettings
from perdure.model.yaml import as_yaml
from perdure.runtime import generation, names
from perdure.targets import far, shelf, supervision, supervisor
from perdure.targets import kubernetes_capacity as capacity
from perdure.targets import kubernetes_manifest as manifests
from perdure.targets import kubernetes_nodes as nodes
from perdure.targets import kubernetes_submission as submission
from perdure.targets import kubernetes_ticket as tickets
from perdure.targets.kubernetes_cluster import Queue, Word, queue_of, require_answer
from perdure.targets.kubernetes_listing import user_name
from perdure.targets.protocol import Capabilities, Confirmation, Handle, Notice, Plan, Presence
from perdure.targets.remote import Remote
from perdure.targets.time_limit import require_time

_POLL_S = 0.2
# A supervisor that was asked to end its job at once has ended by then, where its node answers.
_ASKED_S = 12.0
_AGAIN_S = 2.0
_SIGNAL_S = 60.0
# What a cluster says of a pod whose container may run by now.
_STARTING = frozenset({"starts", "ContainerCreating", "PodInitializing"})
_PYTHON_WORDS = frozenset({"python", "python3"})
_SHELL = ("sh", "-c", "command -v bash >/dev/null && exec bash; exec sh")
_KILL = "import os, sys; os.kill(int(sys.argv[1]), int(sys.argv[2]))"
_FORCED = ("--grace-period=0", "--force", "--wait=false")


@dataclass(frozen=True, slots=True)
class Kubernetes(Remote):
    """Jobs of a cluster. Its host is the pod that has the project's volumes."""

    @property
    def settings(self) -> KubernetesSettings:
        """Return what the cluster is told of every job."""
        assert self.wanted.kubernetes is not None  # a target of this kind has them
        return self.wanted.kubernetes

    @property
    def spec(self) -> PodSpec:
        """Return what the project's pods have in common."""
        return read_destination(self.station.destination)

    @property
    def pod(self) -> Pod:
        """Return the pod that has the project's volumes."""
        return Pod(self.name, self.station.destination, self.station.root)

    @property
    def kubectl(self) -> Kubectl:
        """Return how the cluster is asked."""
        return Kubectl(self.spec.context, self.spec.namespace)

    @property
    def queue(self) -> Queue:
        """Return what the cluster says of the project's jobs."""
        return queue_of(self.kubectl, manifests.project_label(self.station.root))

    @property
    def in_image(self) -> bool:
        """Return that its jobs run in an image."""
        return True

    @property
    def image(self) -> ImageUsed:
        """Return the image that its jobs run in: the user's own, or what was pushed last."""
        spec = self.spec
        return ImageUsed(spec.image, "", spec.user_id, spec.group_id)

    def probe(self) -> Capabilities:
        """Return which release answers, with how many nodes, or why none does."""
        try:
            return Capabilities(self.name, capacity.summary(self.kubectl, self.settings))
        except PerdureError as error:
            return Capabilities(self.name, "no Kubernetes", error.message, error.hint)

    def require(self, resources: Resources, grace_s: float = 0.0) -> None:
        """Return if some node has what is asked for, and the volumes are there. Asks the cluster.

        Raises:
            UsageError: none has; there is no such namespace, or volume claim; or a time limit
                leaves no time before the grace.
            EnvironmentFailed: the cluster does not answer, or not to this user.
        """
        require_time(manifests.time_limit_s(self.settings, resources), grace_s, 0)
        require_person(self.spec)
        capacity.require(self.kubectl, self.settings, resources)
        if self.settings.data is not None and not self.spec.image.endswith(pod_spec.NOT_PUSHED):
            self._lead_to_data(self.settings.data)

    def plan(self, job: JobRecord) -> Plan:
        """Return the manifest of a job, and the command that hands it over. Asks nobody.

        Raises:
            UsageError: its time limit is over before it could save; a line has no place; or it
                would run as root.
        """
        require_person(self.spec)
        require_time(manifests.time_limit_s(self.settings, job.resources), job.limits.grace_s, 0)
        root, spec = self.station.root, self.spec
        cwd = self._cwd(job)
        after = generation.newest(job.folder) if job.folder.is_dir() else 0
        options = self.options(job)
        main = supervisor.folder(root, supervisor.digest()) / supervisor.MAIN
        command = self.command(job)
        program, run_dir = ("python3", "-I", "-S", str(main)), self.place.path(job.folder)
        trained = nodes.led(program, run_dir, after, command, job.resources)
        words = (*program, *options, "--scheduled-after", str(after), "--", *trained)
        place = self.place.name(job.folder)
        turn = manifests.Turn(job, place, after, words, cwd, user_name())
        every = nodes.turns(turn, program, run_dir)
        text = "---\n".join(
            as_yaml(manifests.manifest(each, self.settings, spec)) for each in every
        )
        argv = self.kubectl.argv("create", "--filename=-")
        return Plan(job.job, job.folder, Path(cwd), argv, {}, command, script=text)

    def verify(self, plan: Plan) -> None:
        """Return: what is in an image is not seen from here, and a supervisor tells it at once."""

    def submit(self, plan: Plan, key: str) -> Handle:
        """Hand the Job over, once: one that the cluster has already is found.

        Raises:
            HostUnreachable: the cluster does not answer.
            EnvironmentFailed: it refuses the Job, or its image cannot be had.
        """
        number = submission.submit(self, plan)
        return Handle(self.name, key, plan.run_dir, number)

    def poll(self, handles: Sequence[Handle]) -> Mapping[str, Presence]:
        """Return which of the jobs wait or run: the cluster is asked once for all."""
        if not handles:
            return {}
        known = self.queue.known()
        found = dict(Remote.poll(self, handles))
        for handle in handles:
            if found[handle.key] is not Presence.RUNNING:
                continue
            word = known.words.get(self.key(handle.run_dir))
            if known.problem:
                found[handle.key] = Presence.UNREACHABLE
            elif word is None or not word.active:
                found[handle.key] = Presence.GONE
        return found

    def exec(self, job: JobRecord, argv: Sequence[str]) -> int:
        """Return the exit code of a command in the job's pod; if none runs, beside its volumes."""
        word = self.word(job.folder)
        words = tuple(argv) or _SHELL
        if word is None or word.waits is not None or not word.pod:
            return Remote.exec(self, job, words)
        terminal = sys.stdin.isatty() and sys.stdout.isatty()
        return local.run_attached((*self._inside(word, terminal=terminal), *words))

    def forward(self, handle: Handle, port: int) -> int:
        """Return a port of this machine's that leads to the loopback of the job's pod."""
        from perdure.targets.slurm_relay import relay

        return relay(lambda: self._inside(self._running(handle)), "python3", port)

    def interrupt(self, handle: Handle, notice: Notice) -> None:
        """Touch PREEMPT: it saves, and stays interrupted. One that waits leaves the cluster."""
        word = self.word(handle.run_dir)
        if word is None or not word.active or self._hears(handle, word):
            Remote.interrupt(self, handle, notice)
            return
        if word.element is not None:
            if not self._call_off(handle, word, notice.reason):
                Remote.interrupt(self, handle, notice)
            return
        self._delete(word)
        if not self._gone(handle.run_dir, time.monotonic() + _ASKED_S):
            raise PerdureError(
                f"the cluster still has `{handle.key}` after it was deleted",
                hint=f"perdure interrupt {handle.key}",
            )
        self.host.call(tickets.stop, self._path(handle), notice.reason)

    def cancel(self, handle: Handle, timeout_s: float) -> Confirmation:
        """Have it end, and return whether no pod of it was seen to be left."""
        word = self.word(handle.run_dir)
        deadline = time.monotonic() + timeout_s
        if word is not None and not (
            self._ends_itself(handle, word, deadline) or self._call_off(handle, word, "")
        ):
            self._delete(word)
        while not self._gone(handle.run_dir, min(deadline, time.monotonic() + _AGAIN_S)):
            if time.monotonic() >= deadline:
                return "unconfirmed"
            with contextlib.suppress(EnvironmentFailed):
                # Of an array's there may have been a second pod, which ended meanwhile.
                self._call_off(handle, self.word(handle.run_dir), "")
        self.host.call(tickets.release, self._path(handle))
        return "confirmed"

    def signal(self, handle: Handle, pid: int, number: int) -> None:
        """Send the signal in the job's pod, where that id is known.

        Nothing in a pod kills its first process: that takes the pod itself, at once.
        """
        word = self._running(handle)
        if (pid, number) == (1, signals.SIGKILL):
            self.kubectl.ask("delete", "pod", word.pod, *_FORCED)
            return
        argv = (*self._inside(word), "python3", "-c", _KILL, str(pid), str(number))
        done = local.run(argv, timeout_s=_SIGNAL_S)
        if done.returncode and "ProcessLookupError" not in done.complaint:
            raise PerdureError(f"cannot signal process {pid} of `{handle.key}`: {done.complaint}")

    def sweep(self, handle: Handle, events: Sequence[Event], *, grace_s: float = 0.0) -> int:  # noqa: ARG002
        """Return 1 where the cluster still had a job of that name, else 0; it has none now."""
        word = self.word(handle.run_dir)
        if word is None or not word.active:
            return 0
        # What has just come to its end is still there for a moment.
        over = bool(self.host.call(tickets.look, self._path(handle), "")["over"])
        if over and self._gone(handle.run_dir, time.monotonic() + _ASKED_S):
            return 0
        self._delete(word)
        self._gone(handle.run_dir, time.monotonic() + grace_s + _ASKED_S)
        return 1

    def release(self, handle: Handle) -> None:
        """Note that the cluster has nothing of a job, if it has nothing of it.

        Raises:
            HostUnreachable: it does not answer.
        """
        word = self.word(handle.run_dir)
        if word is None or not word.active:
            self.host.call(tickets.release, self._path(handle))

    def leave(self, handle: Handle) -> None:
        """Return once the cluster has no pod of a job that is to go on elsewhere.

        Raises:
            EnvironmentFailed: it does not answer.
            ConflictError: it still has one.
        """
        self.word(handle.run_dir)  # it answers
        if not self._gone(handle.run_dir, time.monotonic() + _ASKED_S):
            raise ConflictError(
                f"the cluster still has a pod of `{handle.key}`",
                hint=f"perdure kill {handle.key}, then once more",
            )
        self.host.call(tickets.release, self._path(handle))

    def values(self) -> dict[str, Any]:
        """Return what is opened in the pod for what is asked of the project's folder: a process."""
        known = {"root": self.station.root, "engine": far.PROCESS, "name": self.name}
        return {**known, "settings": {}, "supervisor": supervisor.digest()}

    def key(self, run_dir: Path) -> str:
        """Return what marks all that a run folder's job has in the cluster."""
        return manifests.key_of(self.station.root, self.place.name(run_dir))

    def word(self, run_dir: Path, *, fresh: bool = True) -> Word | None:
        """Return what the cluster says of a job, None where it has nothing of it. Asks it.

        Raises:
            EnvironmentFailed: it does not answer.
        """
        known = self.queue.known(fresh=fresh)
        require_answer(known)
        return known.words.get(self.key(run_dir))

    def _lead_to_data(self, claim: str) -> None:
        """Have `data/` of the project's folder be the claim for data. Asks the pod.

        A claim that were mounted there itself would have its place made by the node: as root's.
        """
        folder = f"{self.station.root}/data"
        try:
            self.host.call(shelf.lead, folder, pod_spec.DATA)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                with self.place.writing():
                    raise
            raise UsageError(
                f"the volume of `{self.settings.results}` has files in `{folder}`, and the claim "
                f"`{claim}` is to stand there",
                hint="leave out `data`, or move them away: perdure attach JOB",
            ) from error

    def options(self, job: JobRecord) -> tuple[str, ...]:
        """Return a supervisor's options for a job. Pure."""
        return supervision.supervisor_options(job, self.place.path(job.folder), self._cwd(job))

    def _cwd(self, job: JobRecord) -> str:
        root, snapshot = self.station.root, job.code.snapshot
        return root if snapshot is None else f"{root}/.perdure/snapshots/{snapshot}"

    def command(self, job: JobRecord) -> tuple[str, ...]:
        """Return what a job runs in its pod. Reads the code that it has."""
        word, *rest = job.argv
        if word in _PYTHON_WORDS:
            return ("python3", *rest)
        code = self._commands(job).get(word)
        return job.argv if code is None else ("python3", "-c", code, *rest)

    def _inside(self, word: Word, *, terminal: bool = False) -> tuple[str, ...]:
        kind = ("--stdin", "--tty") if terminal else ("--stdin",)
        container = f"--container={manifests.CONTAINER}"
        return self.kubectl.argv("exec", *kind, word.pod, container, "--", answer_s=0)

    def _hears(self, handle: Handle, word: Word) -> bool:
        """Return whether a supervisor is there to hear: one may be before its node says so."""
        if word.waits is None or word.waits not in _STARTING:
            return word.waits is None
        found = self.host.call(tickets.look, self._path(handle), "")
        return bool(found["begun"])

    def _ends_itself(self, handle: Handle, word: Word, deadline: float) -> bool:
        """Return whether a job's supervisor ended it: CANCEL is there for a later one, too."""
        if not (word.active or word.pods):
            return False
        with contextlib.suppress(EnvironmentFailed, TimeoutExpired):
            self.host.call(shelf.touch, f"{self._path(handle)}/{names.CANCEL}")
            until = min(deadline, time.monotonic() + _ASKED_S)
            return self._hears(handle, word) and self._gone(handle.run_dir, until)
        return False

    def _call_off(self, handle: Handle, word: Word | None, reason: str) -> bool:
        """Return whether a job of an array runs in no pod, and will be run by none any more."""
        if word is None or word.element is None:
            return False
        # One pod is left at most, and that waits: who is on a node that is gone may run on.
        idle = set(word.pods) <= {word.pod} and not self._hears(handle, word)
        given = (self._path(handle), word.element, reason, idle)
        return bool(self.host.call(tickets.call_off, *given))

    def _is_over(self, run_dir: Path) -> bool:
        """Return whether a job has come to its end by what its run folder says. Asks the pod."""
        return bool(self.host.call(tickets.look, self.place.path(run_dir), "")["over"])

    def _running(self, handle: Handle) -> Word:
        word = self.word(handle.run_dir)
        if word is None or not word.pod or not self._hears(handle, word):
            raise PerdureError(
                f"job `{handle.key}` is in no pod just now", hint=f"perdure show {handle.key}"
            )
        return word

    def _delete(self, word: Word) -> None:
        """Have the cluster delete a Job with its pods; of an array, which is others', a pod."""
        # Not in the foreground: that waits for ever for a pod of a node that is gone.
        with contextlib.suppress(HostUnreachable):
            if word.jobs:
                submission.delete(self.kubectl, word)
        self.queue.changed()

    def _gone(self, run_dir: Path, deadline: float) -> bool:
        """Return whether the cluster has no pod of a job any more, or comes to have by then."""
        while True:
            with contextlib.suppress(EnvironmentFailed):
                word = self.word(run_dir)
                if word is None or not (word.active or word.pods):
                    return True
                if word.element is not None and self._is_over(run_dir):
                    return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
