"""What targets refuse, and why a container did not come to own its run folder. Pure."""

from __future__ import annotations

from perdure.errors import EnvironmentFailed, PerdureError, StorageError, UsageError
from perdure.model.job import Resources

# Docker's client: the engine refused, before anything of the image was run.
_REFUSED = 125
_NO_GPU = ("could not select device driver", "nvidia.com/gpu", "nvidia-container")


def refusal(key: str, code: int, said: str) -> PerdureError:
    """Return the error of a container that did not come so far as to own its run folder."""
    if any(words in said for words in _NO_GPU):
        return EnvironmentFailed(
            f"the container engine has no GPU to give to `{key}`",
            hint="install the NVIDIA container toolkit; `perdure doctor` tells what is missing",
        )
    if "no space left on device" in said:
        return StorageError(f"no space to start `{key}`: {said}", hint="perdure clean results")
    if code == _REFUSED:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        why = next((line for line in lines if "--help" not in line), "it does not say why")
        why = why.removeprefix("docker: ").removeprefix("Error response from daemon: ")
        return EnvironmentFailed(
            f"the container engine refused to start `{key}`: {why}", hint="perdure doctor"
        )
    kind = StorageError if code == StorageError.exit_code else PerdureError
    return kind(f"the supervisor of `{key}` did not start (exit code {code})", hint=said or None)


def refuse_a_clusters(resources: Resources) -> None:
    """Return if nothing is asked for that only a cluster's scheduler gives. Pure.

    Raises:
        UsageError: a time limit, or several nodes.
    """
    if resources.time_s is not None:
        raise UsageError(
            "a job runs for as long as it likes here: only a scheduler has time limits",
            hint="leave out --time: it is for clusters",
        )
    if resources.nodes > 1:
        raise UsageError(
            "a job is on one machine here", hint="leave out --nodes: it is for clusters"
        )
