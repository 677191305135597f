"""What can be wrong with the tables of targets of `kind = "kubernetes"`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from perdure.project.clouds import folder_problems

KEYS = (
    *("image", "registry", "results", "folder"),
    *("context", "namespace", "data", "node_selector", "tolerations", "priority_class"),
    *("scheduler", "queue", "service_account", "pull_secret", "gpu_resource", "time", "lines"),
)

# What names of objects are made of: RFC 1123, as Kubernetes has it.
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]*")
_REGISTRY = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?(?:/[a-z0-9][a-z0-9._-]*)+")
_LABEL = re.compile(r"([a-z0-9][a-z0-9.-]*/)?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
_CONTEXT = re.compile(r"[^-\s][^\x00-\x1f\x7f]*")
_NAMED = (
    *("namespace", "results", "data", "priority_class", "scheduler", "queue"),
    *("service_account", "pull_secret"),
)
_PATTERNS = {
    **dict.fromkeys(_NAMED, (_NAME, "name that Kubernetes has")),
    "image": (_IMAGE, "name of an image"),
    "registry": (_REGISTRY, "place in a registry: write `registry.example.org/team/cats`"),
    "gpu_resource": (_LABEL, "name of a resource"),
    "context": (_CONTEXT, "name of a context"),
}
TOLERATION = re.compile(
    r"(?P<key>[A-Za-z0-9][A-Za-z0-9._/-]*)(?:=(?P<value>[A-Za-z0-9._-]*))?"
    r"(?::(?P<effect>NoSchedule|PreferNoSchedule|NoExecute))?"
)
LINE = re.compile(r"(?P<path>[^\s:](?:\"[^\"]*\"|[^\s:\"])*):\s+(?P<value>\S.*)")


def missing(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the keys without which there is no such target, and what is wrong with that."""
    if "image" not in given and "registry" not in given:
        yield "image", "is missing: the image that jobs run in, with Python and perdure"
    if "image" in given and "registry" in given:
        yield "registry", "is for the project's own image, and `image` names another one"
    if "results" not in given:
        yield "results", "is missing: the volume claim for run folders: kubectl get pvc"


def problems(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the keys of a table that are wrong by themselves, and what is wrong with each."""
    for key, (pattern, what) in _PATTERNS.items():
        if key in given and not pattern.fullmatch(given[key]):
            yield key, f"`{given[key]}` is no {what}"
    yield from folder_problems(given)
    for name, value in given.get("node_selector", {}).items():
        if not (_LABEL.fullmatch(name) and _VALUE.fullmatch(value)):
            yield "node_selector", f"`{name}={value}` is no label"
    for each in given.get("tolerations", ()):
        if not TOLERATION.fullmatch(each):
            yield "tolerations", f"`{each}` is none: write `KEY`, `KEY=VALUE`, `KEY:NoSchedule`"


def line_problems(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield which lines are none that can stand in a manifest."""
    for line in given.get("lines", ()):
        if not LINE.fullmatch(line):
            yield "lines", f"{line!r} is not `PATH: VALUE`, as in `spec.suspend: true`"
