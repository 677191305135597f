"""What a user wants of a development container beside the project itself: asked for by name."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from perdure.errors import UsageError
from perdure.images.mounts import Mount
from perdure.model.variable import is_variable

#: Where the container sees what is passed on. Not below its home: that is a folder of the
#: project's, in which an engine would make the empty files to mount over.
AGENT = "/run/perdure/ssh-agent"
GIT_CONFIG = "/run/perdure/gitconfig"
#: Docker Desktop's own way to the agent of a Mac, whose sockets no container can reach.
_AGENT_OF_DESKTOP = "/run/host-services/ssh-auth.sock"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is passed on to the container, and which variant of the environment it has.

    `variables` are `KEY`, whose value is passed on and written down nowhere, or `KEY=VALUE`.
    `gpus` is `all` or a number. `mirrors`: this machine's, with proxies and certificates.
    """

    variant: str | None = None
    gpus: str | None = None
    ssh_agent: bool = False
    git: bool = False
    variables: tuple[str, ...] = ()
    mirrors: bool = False

    def to_label(self) -> str:
        """Return the wishes as text, for the container to carry; `from_label` reads it."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_label(text: str) -> Wishes:
        """Return the wishes a container was made with; none where the text is not ours."""
        try:
            found = json.loads(text)
            variables = tuple(str(each) for each in found["variables"])
            return Wishes(
                variant=_text(found["variant"]),
                gpus=_text(found["gpus"]),
                ssh_agent=bool(found["ssh_agent"]),
                git=bool(found["git"]),
                variables=variables,
                mirrors=bool(found.get("mirrors")),  # containers of old do not have it
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            return Wishes()

    def options(self) -> tuple[str, ...]:
        """Return the options of `perdure up` that ask for this, values of variables left out."""
        named = [("--variant", self.variant), ("--gpus", self.gpus)]
        words = [f"{option} {value}" for option, value in named if value]
        asked = (
            ("--ssh-agent", self.ssh_agent),
            ("--git", self.git),
            ("--mirrors", self.mirrors),
        )
        words += [name for name, wanted in asked if wanted]
        words += [f"--env {each.partition('=')[0]}" for each in self.variables]
        return tuple(words)


NONE = Wishes()


@dataclass(frozen=True, slots=True)
class Passed:
    """What fulfils the wishes: mounts, words for the engine's client, and the client's variables.

    A value in `environ` reaches the container through the client's own environment: it stands in
    no list of processes.
    """

    mounts: tuple[Mount, ...] = ()
    words: tuple[str, ...] = ()
    environ: Mapping[str, str] | None = None


def pass_on(wishes: Wishes, environ: Mapping[str, str]) -> Passed:
    """Return what fulfils the wishes on this machine. Looks at files, starts nothing.

    Raises:
        UsageError: there is no agent, no configuration of git, or a variable is not set.
    """
    mounts: list[Mount] = []
    words: list[str] = []
    if wishes.ssh_agent:
        mounts.append(Mount(_agent(environ), AGENT, read_only=False))
        words += ["--env", f"SSH_AUTH_SOCK={AGENT}"]
    if wishes.git:
        mounts.append(Mount(_git_config(environ), GIT_CONFIG, read_only=True))
        words += ["--env", f"GIT_CONFIG_GLOBAL={GIT_CONFIG}"]
    passed_on = _variables(wishes.variables, environ)
    for item in wishes.variables:
        words += ["--env", item]
    return Passed(tuple(mounts), tuple(words), passed_on)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _agent(environ: Mapping[str, str]) -> str:
    if sys.platform == "darwin":
        return _AGENT_OF_DESKTOP
    path = environ.get("SSH_AUTH_SOCK", "")
    try:
        answers = bool(path) and stat.S_ISSOCK(Path(path).stat().st_mode)
    except OSError:
        answers = False
    if not answers:
        raise UsageError(
            "`--ssh-agent`: no agent runs here"
            + (f": there is no socket `{path}`" if path else ": SSH_AUTH_SOCK is not set"),
            hint='start one: eval "$(ssh-agent)" && ssh-add',
        )
    return os.path.realpath(path)


def _git_config(environ: Mapping[str, str]) -> str:
    home = Path(environ.get("HOME") or Path("~").expanduser())
    configured = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    named = environ.get("GIT_CONFIG_GLOBAL")
    places = [Path(named)] if named else [home / ".gitconfig", configured / "git" / "config"]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise UsageError(
            f"`--git`: there is no `{places[0]}`",
            hint="git config --global user.name 'YOUR NAME', and user.email likewise",
        )
    return os.path.realpath(found)


def _variables(wanted: Sequence[str], environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the values of the variables that are named without one."""
    values: dict[str, str] = {}
    for item in wanted:
        key, given, _ = item.partition("=")
        if not is_variable(key):
            raise UsageError(f"`--env {item}` names no variable", hint="--env KEY or KEY=VALUE")
        if given:
            continue
        if key not in environ:
            raise UsageError(f"`--env {key}`: the variable is not set here", hint=f"export {key}=")
        values[key] = environ[key]
    return values
