"""What an image is made of, by name: so that a change of the environment can be told. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from perdure.images.recipe import Recipe

MOST_TOLD = 12


def contents_of(recipe: Recipe) -> Mapping[str, str]:
    """Return what a development image is made of: its base, its Python, each package's version."""
    found = {
        "base image": f"{recipe.base.name} ({recipe.base.layers[:12]})",
        "python": recipe.python,
        "user": f"{recipe.user.user_id}:{recipe.user.group_id}",
        "variant": recipe.variant or "none",
    }
    for stage in ("runtime", "dev"):
        found |= {f"apt {each.name}": each.version for each in recipe.apt.get(stage, ())}
    found |= {f"conda {each.name}": f"{each.version} {each.build}" for each in recipe.conda}
    packages = (*recipe.packages(), *recipe.development)
    return found | {f"pip {each.name}": each.version for each in packages}


def to_label(contents: Mapping[str, str]) -> str:
    """Return the contents as text, for a container to carry."""
    return json.dumps(dict(sorted(contents.items())), separators=(",", ":"))


def from_label(text: str) -> Mapping[str, str] | None:
    """Return the contents that a container carries, None where the text is not ours."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else None


def differences(old: Mapping[str, str] | None, new: Mapping[str, str]) -> tuple[str, ...]:
    """Return what differs, a line each: `pip six 1.17.0 is new`; nothing where `old` is not known.

    What else an image depends on (the steps of its build, the supervisor) is not in it: where
    nothing is returned for two images, it is one of these.
    """
    if old is None:
        return ()
    lines = []
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before is None:
            lines.append(f"{name} {after} is new")
        elif after is None:
            lines.append(f"{name} is gone")
        elif before != after:
            lines.append(f"{name} {before} -> {after}")
    more = len(lines) - MOST_TOLD
    return tuple(lines[:MOST_TOLD]) + ((f"and {more} more",) if more > 0 else ())
