"""Why a build failed, in one error: the cause, the last words, the declaration it was for."""

from __future__ import annotations

import re

from perdure.errors import (
    BuildFailed,
    EngineUnreachable,
    EnvironmentFailed,
    PerdureError,
    StorageError,
)
from perdure.images import debian
from perdure.images.recipe import Recipe
from perdure.images.steps import Steps

_FULL = re.compile(r"no space left on device|disk quota exceeded|ENOSPC", re.IGNORECASE)
_LOST = re.compile(
    r"error reading from server: EOF|code = Unavailable|connection reset by peer|broken pipe"
    r"|transport is closing|closing transport|use of closed network connection|unexpected EOF"
    r"|Cannot connect to the Docker daemon|graceful_stop|connection refused.*docker\.sock"
    r"|context canceled$",
)
_UNREACHED = re.compile(
    r"Temporary failure (?:in name resolution|resolving)|error sending request|Could not resolve"
    r"|Failed to fetch|dns error|Connection (?:refused|timed out)|invalid peer certificate",
    re.IGNORECASE,
)
MIRRORS = (
    "is the index or mirror reachable from a container? What pip, uv, apt and the proxy variables "
    "are told on this machine is told to builds too"
)


def failure(recipe: Recipe, steps: Steps, code: int, endpoint: str) -> PerdureError:
    """Return the error of a build that ended with that exit code."""
    words = steps.last_words()
    everything = "\n".join(steps.said)
    if _FULL.search(everything):
        return StorageError(
            f"no space left for the image where the container engine keeps its own:\n{words}",
            hint="docker system df, then docker builder prune or docker image prune",
        )
    if steps.failed is None and _LOST.search(everything):
        return EngineUnreachable(
            f"the container engine at `{endpoint}` went away while it built the image; nothing "
            "half built is left",
            hint="start it again, then perdure build: finished steps are kept",
        )
    if steps.failed is None:
        return _elsewhere(recipe, words, code)
    return _of_step(steps, words)


def _of_step(steps: Steps, words: str) -> PerdureError:
    step, output = steps.failed, steps.output()
    assert step is not None
    where = f", declared by {step.origin}," if step.origin else ""
    if debian.GONE in output:
        return BuildFailed(
            f"{step.doing}{where} failed: the mirror lacks what perdure.lock names:\n{words}",
            hint="perdure lock --again",
        )
    if debian.DIFFERENT in output:
        return BuildFailed(
            f"{step.doing}{where} failed: the mirror has other files under the names in "
            f"perdure.lock:\n{words}",
            hint="perdure lock --again, if you trust the mirror",
        )
    hint = MIRRORS if _UNREACHED.search(output) else "perdure build --explain shows every step"
    return BuildFailed(f"{step.doing}{where} failed; its last words:\n{words}", hint=hint)


def _elsewhere(recipe: Recipe, words: str, code: int) -> PerdureError:
    name = recipe.base.name
    if name.partition("@")[0] in words and re.search(r"resolve|pull|not found|manifest", words):
        return base_missing(recipe, words)
    return BuildFailed(
        f"the build failed (exit code {code}) before or after its steps:\n{words}",
        hint="perdure build --explain shows every step",
    )


def base_missing(recipe: Recipe, said: str) -> EnvironmentFailed:
    """Return the error of a base image that cannot be had."""
    return EnvironmentFailed(
        f"the base image `{recipe.base.name}` cannot be had:\n{said}",
        hint=f"docker pull {recipe.base.name}; or name another under `base` of "
        "`[tool.perdure.environment]`, then perdure lock",
    )


def base_differs(recipe: Recipe) -> EnvironmentFailed:
    """Return the error of a base image that is not the one of the lock."""
    return EnvironmentFailed(
        f"the engine's `{recipe.base.name}` is not the image that perdure.lock was made for",
        hint=f"docker pull {recipe.base.reference}, or perdure lock --again to take this one",
    )
