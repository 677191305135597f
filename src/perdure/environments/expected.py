"""What the lock would have in a virtual environment that is there, in uv's own judgement.

uv knows which packages of the lock are for this Python, this platform and this variant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from perdure.environments.drift import Before
from perdure.environments.installed import Inventory
from perdure.environments.machine import masked
from perdure.environments.manifest import normalised
from perdure.environments.uv import find_uv, this_machine, with_cache
from perdure.errors import EnvironmentFailed
from perdure.hosts import local
from perdure.model.project import Project

_TIMEOUT_S = 120.0
_LINE = re.compile(r" (?P<sign>[+-]) (?P<name>[A-Za-z0-9._-]+)==(?P<version>\S+)")


def expected(project: Project, prefix: Path, now: Inventory) -> Before:
    """Return what the lock would have in `prefix`, where `now` is installed. Installs nothing.

    The variant is the one that is nearest to what is there.

    Raises:
        EnvironmentFailed: uv cannot tell: another Python, say.
    """
    variants = project.environment.variants or (None,)
    plans = [_plan(project, prefix, variant) for variant in variants]
    return Before(replayed(min(plans, key=lambda plan: len(_LINE.findall(plan))), now.versions))


def replayed(plan: str, versions: Mapping[str, str]) -> dict[str, str]:
    """Return the versions after a plan of uv's: lines such as ` - six==1.17.0`. Pure."""
    found = dict(versions)
    for line in _LINE.finditer(plan):
        if line["sign"] == "-":
            found.pop(normalised(line["name"]), None)
    for line in _LINE.finditer(plan):
        if line["sign"] == "+":
            found[normalised(line["name"])] = line["version"]
    return found


def _plan(project: Project, prefix: Path, variant: str | None) -> str:
    environ = with_cache(this_machine().environ, project.state)
    environ["UV_PROJECT_ENVIRONMENT"] = str(prefix)
    extra = ("--extra", variant) if variant else ()
    words = ("sync", "--frozen", "--dry-run", "--no-install-project", *extra)
    argv = [find_uv(environ), *words, "--python", str(prefix / "bin" / "python"), "--no-progress"]
    argv += ["--no-python-downloads"]
    done = local.run(argv, env=environ, cwd=project.root, timeout_s=_TIMEOUT_S)
    plan = done.stderr.decode("utf-8", "replace")
    if done.returncode != 0 or "Would replace" in plan or "Would create" in plan:
        raise EnvironmentFailed(
            f"`{prefix}` cannot be compared with the lock: {masked(plan.strip())}",
            hint="is it made with the project's Python? `uv sync` makes `.venv` anew",
        )
    return plan
