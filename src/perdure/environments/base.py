"""A base image as an engine has it: its contents, its Debian release, its Python."""

from __future__ import annotations

import hashlib

from perdure.environments.machine import masked
from perdure.errors import EnvironmentFailed, TimeoutExpired
from perdure.hosts.engine import Engine, ImageFacts
from perdure.model.image import Base
from perdure.model.report import Report, silent

_PULL_S = 1800.0
_ASK_S = 120.0
_REGISTRY_S = 20.0
# What a container prints: a line each, so that a shell which says more does no harm.
_QUESTION = """\
if [ -r /etc/os-release ]; then . /etc/os-release; fi
echo "release=${VERSION_CODENAME:-}"
echo "system=${ID:-}"
echo "apt=$(command -v apt-get)"
echo "python=$(python3 -I -c 'import platform; print(platform.python_version())' 2>/dev/null)"
"""


def find_base(
    engine: Engine,
    name: str,
    platform: str | None = None,
    *,
    refresh: bool = False,
    report: Report = silent,
) -> tuple[Base, str]:
    """Return the base image of that name, pulled if the engine lacks it, and its platform.

    `platform` is the one it has to be for, None for what the engine has. `refresh`: what a registry
    has now is pulled where the image came from one.

    Raises:
        EnvironmentFailed: it cannot be had, or is no Debian or Ubuntu.
        EngineUnreachable: the engine does not answer.
        TimeoutExpired: it took too long.
    """
    facts = engine.inspect_image(name)
    lacking = facts is None or platform not in (None, facts.platform)
    if lacking or (refresh and facts is not None and facts.repo_digests):
        facts = _pulled(engine, name, platform, report, facts=None if lacking else facts)
    assert facts is not None
    release, python = _ask(engine, name, facts)
    layers = hashlib.sha256("\n".join(facts.layers).encode()).hexdigest()
    return Base(name, _reference(engine, name, facts), layers, release, python), facts.platform


def _pulled(
    engine: Engine, name: str, platform: str | None, report: Report, *, facts: ImageFacts | None
) -> ImageFacts:
    """Return the image once it is pulled; `facts` are of the one that may stay in its place."""
    report(f"pulling the base image {name}")
    words = ["pull", "--quiet", *(["--platform", platform] if platform else []), name]
    done = engine.run(words, timeout_s=_PULL_S)
    found = engine.inspect_image(name) if done.returncode == 0 else None
    if found is not None and platform in (None, found.platform):
        return found
    lines = masked(done.complaint).splitlines() or ["it is not there after it was pulled"]
    said = lines[-1].removeprefix("Error response from daemon: ").strip()
    if facts is not None:
        report(f"warning: a newer `{name}` cannot be had, so the present one stays: {said}")
        return facts
    of = f" for {platform}" if platform else ""
    raise EnvironmentFailed(
        f"the base image `{name}`{of} cannot be had: {said}",
        hint=f"`{engine.kind} login` where it asks for a password; `{engine.kind} load` where "
        "there is no registry; or another `base` under `[tool.perdure.environment]`",
    )


def _ask(engine: Engine, name: str, facts: ImageFacts) -> tuple[str, str | None]:
    """Return the release of the image's Debian, and the version of its Python. Runs a container."""
    words = ("run", "--rm", "--network", "none", "--entrypoint", "/bin/sh")
    try:
        done = engine.run(
            [*words, "--platform", facts.platform, name, "-c", _QUESTION], timeout_s=_ASK_S
        )
    except TimeoutExpired as error:
        raise TimeoutExpired(
            f"a container of the base image `{name}` did not end within {_ASK_S:g} s"
        ) from error
    answers = dict(line.partition("=")[::2] for line in done.text.splitlines() if "=" in line)
    if done.returncode != 0 and not answers:
        last = (done.complaint.splitlines() or [f"exit code {done.returncode}"])[-1]
        raise EnvironmentFailed(
            f"the base image `{name}` cannot be run: {last}",
            hint="an image begins with a Debian or Ubuntu, such as debian:bookworm-slim",
        )
    if not answers.get("apt"):
        what = answers.get("system") or "something else"
        raise EnvironmentFailed(
            f"the base image `{name}` has no apt-get: it is {what}, neither Debian nor Ubuntu",
            hint='base = "debian:bookworm-slim" under `[tool.perdure.environment]`',
        )
    return answers.get("release", ""), answers.get("python") or None


def _reference(engine: Engine, name: str, facts: ImageFacts) -> str:
    """Return the name with its digest where a registry has it under that, else the name alone.

    The containerd store gives a digest to an image that came from nowhere, too; there a registry is
    asked. An image without a digest is known by its layers.
    """
    repository = _full(_repository(name))
    for each in facts.repo_digests:
        known, _, digest = each.partition("@")
        if _full(known) == repository:
            found = f"{name.partition('@')[0]}@{digest}"
            return found if facts.id != digest or _published(engine, found) else name
    return name


def _published(engine: Engine, reference: str) -> bool:
    try:
        return engine.run(["manifest", "inspect", reference], timeout_s=_REGISTRY_S).returncode == 0
    except TimeoutExpired:
        return False


def _repository(name: str) -> str:
    """Return the name without its tag and its digest."""
    bare = name.partition("@")[0]
    folder, slash, last = bare.rpartition("/")
    return f"{folder}{slash}{last.partition(':')[0]}"


def _full(repository: str) -> str:
    """Return a repository as engines that spell everything out write it."""
    first, slash, _ = repository.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return repository.replace("index.docker.io/", "docker.io/", 1)
    return f"docker.io/{repository}" if slash else f"docker.io/library/{repository}"
