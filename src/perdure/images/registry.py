"""An image to a registry, pushed by its engine, and verified by its digest."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from perdure.errors import EnvironmentFailed, PerdureError
from perdure.hosts import piped
from perdure.hosts.engine import Engine
from perdure.hosts.local import Completed
from perdure.images.ship_image import ImageRecord, find_image
from perdure.images.ship_stream import STALL_S, failure
from perdure.images.shipment import Moved
from perdure.model.report import Report

_ASK_S = 120.0
_END_S = 600.0
_QUIET_S = 2.0
_SHORT = 12
_LAYER = re.compile(r"(?P<id>[0-9a-f]{12}): (?P<state>.+)")
_DIGEST = re.compile(r"digest: (?P<digest>sha256:[0-9a-f]{64})")
_REFUSED = re.compile(r"denied|unauthorized|no basic auth|authentication required", re.IGNORECASE)
_UNREACHED = re.compile(
    r"connection refused|no such host|no route|i/o timeout|deadline exceeded", re.IGNORECASE
)
_NOT_TLS = re.compile(r"HTTP response to HTTPS client|certificate", re.IGNORECASE)
_LOOPBACK = re.compile(r"(?:localhost|127\.[0-9.]+)(?::|/|$)")


@dataclass(frozen=True, slots=True)
class Pushed:
    """An image in a registry: `reference` is its name and tag there."""

    reference: str
    digest: str
    moved: Moved


def push(engine: Engine, image: ImageRecord, tag: str, reference: str, *, report: Report) -> Pushed:
    """Return what went over once the registry has the image `tag` as `reference`.

    The engine speaks to the registry, with the credentials of its client. The name that the push
    needs on the engine is taken away again, unless it was there.

    Raises:
        EnvironmentFailed: the registry refuses it, cannot be reached, or has something else.
        EngineUnreachable: the engine was lost.
    """
    had = find_image(engine, reference) is not None
    if not had:
        _do(engine, ["image", "tag", tag, reference], f"cannot name `{tag}` `{reference}`")
    try:
        lines = _push(engine, reference, report)
        digest = _digest(lines, reference)
        report(f"asking the registry for `{reference}`")
        name = f"{reference.rpartition(':')[0]}@{digest}"
        _do(engine, ["image", "pull", "--quiet", name], f"the registry does not have `{name}`")
        return Pushed(reference, digest, _moved(lines, image, _sizes(engine, name, image)))
    finally:
        if not had:
            engine.run(["image", "rm", reference], timeout_s=_ASK_S)


def _push(engine: Engine, reference: str, report: Report) -> list[str]:
    """Return what the engine said of the push, a line for each change of a layer's state."""
    tell, lines = _Layers(report, reference), list[str]()
    argv = engine.argv(["image", "push", reference])
    with piped.reading(argv, env=engine.environ, stall_s=STALL_S) as process:
        rest = b""
        while data := process.read():
            *whole, rest = (rest + data).split(b"\n")
            for line in (each.decode("utf-8", "replace").strip() for each in whole):
                lines.append(line)
                tell(lines)
        done = process.finish(_END_S)
    if done.returncode != 0:
        raise _refusal(reference, done)
    return lines


class _Layers:
    """Tells how many layers are there, once that takes longer than a moment."""

    def __init__(self, report: Report, reference: str) -> None:
        report(f"pushing `{reference}`")
        self._report = report
        self._message = f"pushing `{reference}`, layers"
        self._began = time.monotonic()

    def __call__(self, lines: Sequence[str]) -> None:
        """Tell it from what the engine has said so far."""
        states = _states(lines)
        if states and time.monotonic() - self._began >= _QUIET_S:
            ended = sum(_is_over(state) for state in states.values())
            self._report(self._message, done=ended, total=len(states))


def _states(lines: Iterable[str]) -> dict[str, str]:
    """Return the last state of each layer."""
    found = (_LAYER.fullmatch(line) for line in lines)
    return {each["id"]: each["state"] for each in found if each is not None}


def _is_over(state: str) -> bool:
    return state == "Pushed" or "exists" in state.lower() or state.startswith("Mounted")


def _digest(lines: Sequence[str], reference: str) -> str:
    found = (_DIGEST.search(line) for line in reversed(lines))
    digest = next((each["digest"] for each in found if each is not None), None)
    if digest is None:
        raise EnvironmentFailed(
            f"the engine does not say what it pushed as `{reference}`", hint="push it again"
        )
    return digest


def _sizes(engine: Engine, name: str, image: ImageRecord) -> Mapping[str, int]:
    """Return the bytes of each layer in the registry, by both its short names there may be.

    Empty where the client cannot ask the registry itself: the engine's machine may be another.
    """
    try:
        manifest = _manifest(engine, name, image.platform)
    except (PerdureError, ValueError, KeyError, TypeError):
        return {}
    layers = manifest.get("layers")
    if not isinstance(layers, list) or len(layers) != len(image.layers):
        return {}
    found: dict[str, int] = {}
    for contents, layer in zip(image.layers, layers, strict=True):
        found[_short(contents)] = found[_short(str(layer["digest"]))] = int(layer["size"])
    return found


def _manifest(engine: Engine, name: str, platform: tuple[str, str]) -> Mapping[str, object]:
    insecure = ["--insecure"] if _LOOPBACK.match(name) else []
    done = _do(engine, ["manifest", "inspect", *insecure, name], "no manifest")
    document: Mapping[str, object] = json.loads(done.text)
    below = document.get("manifests")
    if not isinstance(below, list):
        return document
    wanted = {"os": platform[0], "architecture": platform[1]}
    digest = next(
        each["digest"] for each in below if wanted.items() <= dict(each["platform"]).items()
    )
    return _manifest(engine, f"{name.partition('@')[0]}@{digest}", platform)


def _moved(lines: Sequence[str], image: ImageRecord, sizes: Mapping[str, int]) -> Moved:
    pushed = {name for name, state in _states(lines).items() if state == "Pushed"}
    if not sizes:
        sent = min(len(pushed), len(image.layers))
        return Moved(sent, None, len(image.layers) - sent, None)
    known = pushed & sizes.keys()
    # A layer has two short names, and each only once however often the image has it.
    everything = sum(sizes[_short(layer)] for layer in dict.fromkeys(image.layers))
    sent_bytes = sum(sizes[name] for name in known)
    return Moved(
        len(known), sent_bytes, len(set(image.layers)) - len(known), everything - sent_bytes
    )


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:_SHORT]


def _do(engine: Engine, words: Sequence[str], what: str) -> Completed:
    done = engine.run(words, timeout_s=_ASK_S)
    if done.returncode != 0:
        raise failure(what, done)
    return done


def _refusal(reference: str, done: Completed) -> PerdureError:
    """Return the error for a push that failed, with what can be done about it."""
    host = reference.partition("/")[0]
    said = (done.complaint or done.text).splitlines()
    last = said[-1].strip() if said else f"exit code {done.returncode}"
    if _REFUSED.search(last):
        return EnvironmentFailed(
            f"the registry refuses `{reference}`: {last}", hint=f"docker login {host}"
        )
    if _NOT_TLS.search(last):
        return EnvironmentFailed(
            f"the engine does not trust the registry `{host}`: {last}",
            hint="give the engine its certificate, or name it in insecure-registries",
        )
    if _UNREACHED.search(last):
        return EnvironmentFailed(
            f"the engine does not reach the registry `{host}`: {last}",
            hint=f"is it up, and is `{host}` its address as the engine sees it?",
        )
    return failure(f"`{reference}` was not pushed", done)
