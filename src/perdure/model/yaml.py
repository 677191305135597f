"""Values as YAML that people read: plain words as they are, the rest as JSON has it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./@-]*(?::[A-Za-z0-9_./@-]+)*")
# Lines that a block can hold: none begins with what would be its indent, one ends it.
_BLOCK = re.compile(r"(?! )[ -~]+\n((?! *\n\Z)[ -~]*\n)*")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


def as_yaml(value: Mapping[str, Any]) -> str:
    """Return values as people read them: the same text for the same values."""
    return "".join(f"{line}\n" for line in _lines(value))


def _lines(value: Any) -> list[str]:  # noqa: ANN401 - of a manifest
    if isinstance(value, Mapping):
        found = []
        for name, each in value.items():
            if isinstance(each, Mapping | list) and each:
                inner = _lines(each)
                indent = "  " if isinstance(each, Mapping) else ""
                found += [f"{_scalar(name)}:", *(f"{indent}{line}" for line in inner)]
            elif isinstance(each, str) and _BLOCK.fullmatch(each):
                inner = [f"  {line}" if line else "" for line in each[:-1].split("\n")]
                found += [f"{_scalar(name)}: |", *inner]
            else:
                found.append(f"{_scalar(name)}: {_scalar(each)}")
        return found
    found = []
    for each in value:
        nested = isinstance(each, Mapping | list) and each
        first, *rest = _lines(each) if nested else [_scalar(each)]
        found += [f"- {first}", *(f"  {line}" for line in rest)]
    return found


def _scalar(value: object) -> str:
    plain = isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS
    return str(value) if plain else json.dumps(value)
