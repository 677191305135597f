"""A host that is a pod of a cluster: it has a project's volumes, and kubectl runs commands in it.

It is there for what is asked of a project's folder: to bring code, to read what jobs have written.
The first question makes it, and half an hour after the last one it ends. Jobs have pods of their
own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure.errors import EnvironmentFailed, HostUnreachable, PerdureError
from perdure.hosts.kubectl import Kubectl
from perdure.hosts.linked import LinkedHost
from perdure.hosts.pod_spec import (
    CONTAINER,
    PodSpec,
    desk,
    desk_name,
    read_destination,
    require_image,
    require_person,
)

if TYPE_CHECKING:
    from perdure.hosts.host import HostFacts

# What a cluster may take to start the pod: its image may have to be fetched.
START_S = 240.0
_GONE_S = 60.0
_POLL_S = 0.3
# For so long nobody need have room for it.
_ROOM_S = 45.0
_FORCED = ("--grace-period=0", "--force", "--wait=false")


@dataclass(frozen=True, slots=True)
class Pod(LinkedHost):
    """A pod by what users call its target, and by all that it is made from: see `pod_spec`."""

    name: str
    destination: str
    root: str = "/"
    asks: bool = True

    @property
    def spec(self) -> PodSpec:
        """Return what it is made from."""
        return read_destination(self.destination)

    @property
    def remedy(self) -> str:
        """Return that it has another volume, or another user."""
        at = f"of `[targets.{self.name}]`"
        user = self.spec.user_id
        return f"`results` {at}: a claim that user {user} may write to; `user_id` under `[docker]`"

    @property
    def kubectl(self) -> Kubectl:
        """Return the cluster that it is on."""
        spec = self.spec
        return Kubectl(spec.context, spec.namespace)

    def command(self, argv: Sequence[str], *, terminal: bool = False) -> tuple[str, ...]:
        """Return kubectl's command line that runs `argv` in the pod."""
        kind = ("--stdin", "--tty") if terminal else ("--stdin",)
        pod = desk_name(self.destination)
        words = ("exec", *kind, pod, f"--container={CONTAINER}", "--", *argv)
        return self.kubectl.argv(*words, answer_s=0)

    def python(self, words: Sequence[str]) -> tuple[str, ...]:
        """Return the command of this machine that runs `python3 ...` there; see `Host.python`."""
        return self.command(("python3", *words[1:]))

    def attached(
        self,
        argv: Sequence[str],
        *,
        variables: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> int:
        """Return the exit code of a command there that has this terminal until it ends."""
        from perdure.hosts import local, question

        text = question.script(argv, variables or {}, cwd)
        words = ["sh", self.call(question.leave_script, text)]
        terminal = sys.stdin.isatty() and sys.stdout.isatty()
        return local.run_attached(self.command(words, terminal=terminal))

    def connect(self) -> None:
        """Return once the pod runs; one that has ended, or is on a lost node, is made anew.

        Raises:
            HostUnreachable: the cluster does not answer, or has no room for it.
            EnvironmentFailed: it cannot be: no such image, no such volume claim.
            UsageError: it would run as root.
        """
        require_person(self.spec)
        require_image(self.name, self.spec)
        deadline = time.monotonic() + START_S
        began = time.monotonic()
        while not self._is_ready(patient=time.monotonic() - began < _ROOM_S):
            if time.monotonic() > deadline:
                raise HostUnreachable(
                    f"the pod for `{self.name}` does not start within {START_S:g} s",
                    hint=f"kubectl describe pod {desk_name(self.destination)}",
                )
            time.sleep(_POLL_S)

    def disconnect(self) -> bool:
        """Return whether a pod was kept; none is now."""
        from perdure.hosts.link import socket_path

        socket_path(self).unlink(missing_ok=True)
        words = ("delete", "pod", desk_name(self.destination), "--ignore-not-found")
        return bool(self.kubectl.ask(*words, *_FORCED).strip())

    def lost(self, said: str) -> PerdureError:
        """Return the error of a kubectl that did not get into the pod, by what it said."""
        from perdure.hosts.kubectl import Refused

        error = self.kubectl.complaint(said)
        if type(error) is not Refused:
            return error
        # The pod is just ending, or its node is gone: another one may be had.
        return HostUnreachable(f"the pod for `{self.name}`: {error.message}", hint="try again")

    def forward(self, port: int) -> int:
        """Return a port of this machine's that leads to the pod's, while this process lives."""
        from perdure.hosts.pod_forward import forwarded_port

        return forwarded_port(self, port)

    def forward_socket(self, path: str) -> Path:
        """Refuse: there is no engine in a pod."""
        raise EnvironmentFailed(f"`{self.name}` is a pod: nothing is reached at `{path}` in it")

    def probe(self) -> HostFacts:
        """Return what the pod's node is."""
        from perdure.hosts.here import facts_of
        from perdure.hosts.side.survey import survey

        self.call(survey, self.root)
        began, clock = time.monotonic(), time.time()
        found = self.call(survey, self.root)
        took = time.monotonic() - began
        return facts_of(found, took, ahead_s=float(found["time"]) - clock - took / 2)

    def _is_ready(self, *, patient: bool) -> bool:
        name = desk_name(self.destination)
        found = self.kubectl.read("get", "pod", name, "--ignore-not-found")
        if not found:
            self._make()
            return False
        status = found.get("status", {})
        gone = status.get("phase") in ("Succeeded", "Failed")
        problem = trouble(status, patient=patient)
        if problem or gone or "deletionTimestamp" in found.get("metadata", {}):
            self.kubectl.ask("delete", "pod", name, "--ignore-not-found", *_FORCED)
        if problem:
            raise _refusal(self.name, problem)
        if gone or "deletionTimestamp" in found.get("metadata", {}):
            return False
        conditions = {each["type"]: each["status"] for each in status.get("conditions", ())}
        return conditions.get("Ready") == "True"

    def _make(self) -> None:
        import json

        from perdure.hosts.kubectl import Refused

        manifest = json.dumps(desk(self.destination))
        try:
            self.kubectl.ask("create", "--filename=-", stdin=manifest)
        except Refused as error:
            # Another process was quicker, or what ended under that name is not gone yet.
            if "already exists" not in error.message and "being deleted" not in error.message:
                raise


# What a container waits for that does not come by itself.
NEVER = frozenset(
    {
        *("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"),
        *("CreateContainerConfigError", "CreateContainerError", "RunContainerError"),
    }
)


# How a container ended that was never a process.
_UNABLE = frozenset({"StartError", "ContainerCannotRun"})


def trouble(status: Mapping[str, Any], *, patient: bool) -> str:
    """Return why a pod does not start, "" where it may yet. Pure.

    `patient`: a node may still come to have room.
    """
    for each in status.get("containerStatuses") or ():
        state = each.get("state", {})
        said = state.get("waiting") or state.get("terminated") or {}
        if said.get("reason") in NEVER | _UNABLE:
            return f"{said['reason']}: {said.get('message', '')}".strip(": ")
    for each in status.get("conditions") or ():
        if each.get("type") == "PodScheduled" and each.get("status") == "False":
            message = str(each.get("message") or each.get("reason", ""))
            if not patient or "persistentvolumeclaim" in message:
                return message
    return ""


def _refusal(name: str, problem: str) -> PerdureError:
    if "persistentvolumeclaim" in problem:
        return EnvironmentFailed(
            f"`{name}` has no such volume: {problem}", hint="kubectl get pvc; `results`, `data`"
        )
    if problem.partition(":")[0] in NEVER | _UNABLE:
        return EnvironmentFailed(
            f"the image of `{name}` does not start: {problem}",
            hint=f"`image` and `pull_secret` of `[targets.{name}]`",
        )
    return HostUnreachable(f"`{name}` has no room for a small pod: {problem}", hint="try again")
