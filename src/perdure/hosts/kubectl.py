"""A Kubernetes cluster as the user's own kubectl reaches it, with whatever logs them in there."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perdure.errors import (
    EnvironmentFailed,
    HostUnreachable,
    MissingProgram,
    PerdureError,
    TimeoutExpired,
    UsageError,
)
from perdure.hosts import local

PROGRAM = "kubectl"
ASK_S = 20.0
# What kubectl itself may take beyond the server's time: a plug-in that logs in, say.
_OWN_S = 10.0

_SILENT = (
    r"connection refused|no such host|i/o timeout|unable to connect|TLS handshake timeout"
    r"|deadline exceeded|was refused|no route to host|network is unreachable|connection reset"
    r"|unexpected EOF|: EOF|request timed out|etcdserver: |server is currently unable"
)
_CREDENTIALS = (
    r"must be logged in|unauthorized|provide credentials|getting credentials|token has expired"
    r"|token is expired|certificate has expired|invalid_grant|exec: executable"
)
# Where kubectl looks that was told of no cluster.
_UNCONFIGURED = "localhost:8080"
_FORBIDDEN = r"\(forbidden\)|is forbidden|cannot \w+ resource"


@dataclass(frozen=True, slots=True)
class Kubectl:
    """A cluster by a context of kubectl's and a namespace; None: what kubectl itself takes."""

    context: str | None = None
    namespace: str | None = None

    def argv(self, *words: str, answer_s: float = ASK_S) -> tuple[str, ...]:
        """Return the command line that asks the cluster something. Pure."""
        where = [f"--context={self.context}"] if self.context is not None else []
        where += [f"--namespace={self.namespace}"] if self.namespace is not None else []
        limit = [f"--request-timeout={answer_s:g}s"] if answer_s else []
        return (PROGRAM, *where, *limit, *words)

    def ask(self, *words: str, stdin: str | None = None, timeout_s: float = ASK_S) -> str:
        """Return what kubectl printed. Starts a process, asks the cluster.

        Raises:
            MissingProgram: there is no kubectl here.
            HostUnreachable: the API server does not answer.
            UsageError: there is no such context or namespace.
            EnvironmentFailed: it does not take the user's credentials, or does not let them.
            Refused: anything else; the cluster's own words are the message.
        """
        done = self.run(words, stdin=stdin, timeout_s=timeout_s)
        if done.returncode:
            raise self.complaint(done.complaint or f"kubectl ended with {done.returncode}")
        return done.stdout.decode("utf-8", "replace")

    def run(
        self, words: Sequence[str], *, stdin: str | None = None, timeout_s: float = ASK_S
    ) -> local.Completed:
        """Return how kubectl ended. Raises MissingProgram and HostUnreachable as `ask`."""
        given = None if stdin is None else stdin.encode("utf-8", "surrogateescape")
        try:
            return local.run(
                self.argv(*words, answer_s=timeout_s), stdin=given, timeout_s=timeout_s + _OWN_S
            )
        except MissingProgram as error:
            raise no_kubectl() from error
        except TimeoutExpired as error:
            raise HostUnreachable(
                f"{self.what} does not answer within {timeout_s:g} s", hint="try again"
            ) from error

    def read(self, *words: str, timeout_s: float = ASK_S) -> Mapping[str, Any]:
        """Return what kubectl printed as JSON, {} for nothing. Raises as `ask`."""
        text = self.ask(*words, "--output=json", timeout_s=timeout_s)
        try:
            found = json.loads(text) if text.strip() else {}
        except ValueError as error:
            raise HostUnreachable(f"{self.what} answers with what is no JSON") from error
        return found if isinstance(found, dict) else {}

    @property
    def what(self) -> str:
        """Return what the cluster is called in a message."""
        return "the cluster" if self.context is None else f"the cluster `{self.context}`"

    def complaint(self, text: str) -> PerdureError:
        """Return the error of what kubectl complained of; may ask which names there are."""
        said = last_line(text)
        if re.search(r"context .* does not exist|no context exists|context was not found", text):
            return self._no_context(said)
        if re.search(r'namespaces? "[^"]*" not found', text):
            return self._no_namespace()
        if re.search(_CREDENTIALS, text, re.IGNORECASE):
            return EnvironmentFailed(
                f"{self.what} does not take your credentials: {said}",
                hint="log in to it again, then: kubectl get pods",
            )
        if self.context is None and _UNCONFIGURED in text:
            return EnvironmentFailed(
                "kubectl has no configuration of a cluster",
                hint="the file that your cluster gives you: ~/.kube/config, or where KUBECONFIG "
                "says; then: kubectl config get-contexts",
            )
        if re.search(_SILENT, text, re.IGNORECASE):
            return HostUnreachable(f"{self.what} does not answer: {said}", hint="try again")
        if re.search(_FORBIDDEN, text, re.IGNORECASE):
            return Forbidden(
                f"{self.what} does not let you: {said}", hint="kubectl auth can-i --list"
            )
        return Refused(said)

    def _no_context(self, said: str) -> UsageError:
        if self.context is None:
            return UsageError(f"kubectl knows no cluster: {said}", hint="kubectl config view")
        done = local.run((PROGRAM, "config", "get-contexts", "--output=name"), timeout_s=ASK_S)
        near = difflib.get_close_matches(self.context, done.text.split(), 1)
        hint = f"did you mean `{near[0]}`?" if near else "kubectl config get-contexts"
        return UsageError(f"kubectl has no context `{self.context}`", hint=hint)

    def _no_namespace(self) -> UsageError:
        name = self.namespace or "default"
        done = local.run(self.argv("get", "namespaces", "--output=name"), timeout_s=ASK_S)
        known = [line.partition("/")[2] for line in done.text.split()]
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean `{near[0]}`?" if near else "kubectl get namespaces"
        return UsageError(f"{self.what} has no namespace `{name}`", hint=hint)


def current_context() -> str | None:
    """Return the context that kubectl takes by itself, None where there is none. Asks nobody."""
    try:
        done = local.run((PROGRAM, "config", "current-context"), timeout_s=ASK_S)
    except MissingProgram:
        return None
    return done.text if done.returncode == 0 and done.text else None


class Refused(EnvironmentFailed):
    """A cluster refused what it was asked for."""


class Forbidden(Refused):
    """A cluster does not let this user do that."""


def no_kubectl() -> MissingProgram:
    """Return the error of a machine that lacks it."""
    return MissingProgram(
        "no program `kubectl` was found",
        program=PROGRAM,
        hint="install kubectl, and the configuration that your cluster gives you: "
        "https://kubernetes.io/docs/tasks/tools",
    )


def last_line(text: str) -> str:
    """Return the last line of what kubectl complained of, without what comes before it. Pure."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    line = lines[-1].strip() if lines else ""
    # With a log's heading, as its older ones have it: E1121 15:00:00.0 1 file.go:1]
    line = re.sub(r"^[EWF]\d{4} [^\]]*\] ", "", line)
    return re.sub(r"^(?:error: |Error from server(?: \(\w+\))?: )+", "", line)
