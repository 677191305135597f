"""An environment.yml: its channels and its packages, or all that is wrong with it at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from perdure.environments.machine import masked
from perdure.errors import MissingProgram, StorageError, UsageError

#: What `pip install` needs for what a file here asks for.
HINT = "pip install 'perdure[conda]'"

_KNOWN = ("name", "channels", "dependencies")
# conda writes it when it exports an environment, and does not heed it either.
_IGNORED = ("prefix",)
_DEFAULTS = ("https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r")
_CHANNEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_SCHEMES = ("file", "http", "https", "s3", "gcs", "oci")
# PEP 508: a name, extras, then versions, a marker, or `@` and a place.
_PIP = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\s*(?:\[[^\]]*\])?\s*"
    r"(?:$|[=<>!~;@(].*)",
    re.ASCII,
)

Problem = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Declared:
    """What an environment.yml asks for.

    `channels` are URLs or names, the first one before the others; `specs` are conda's match
    specifications, `pip` requirements (PEP 508).
    """

    channels: tuple[str, ...]
    specs: tuple[str, ...]
    pip: tuple[str, ...] = ()


def read_yaml(file: Path) -> object:
    """Return what stands in a YAML file.

    Raises:
        UsageError: it is not YAML, not UTF-8, or names a key twice.
        StorageError: it cannot be read.
        MissingProgram: PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise MissingProgram(
            f"`{file}` cannot be read without PyYAML", program="pyyaml", hint=HINT
        ) from error
    from perdure.environments.conda.yaml import Loader

    try:
        return yaml.load(file.read_bytes().decode("utf-8"), Loader)  # noqa: S506 - a safe one
    except UnicodeDecodeError as error:
        raise UsageError(f"`{file}` is not UTF-8: byte {error.start} cannot be read") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"`{file}` is not valid YAML: {_one_line(str(error))}") from error
    except OSError as error:
        raise StorageError(f"cannot read `{file}`: {(error.strerror or '').lower()}") from error


def decode(document: object, file: Path) -> Declared:
    """Return what the document of an environment.yml asks for.

    A channel that is a folder may be told from where the file is.

    Raises:
        UsageError: naming every problem of the file.
    """
    if not isinstance(document, Mapping):
        raise UsageError(f"`{file}` holds no keys: expected `channels` and `dependencies`")
    problems = [*_key_problems(document)]
    channels = [*_strings(document.get("channels", []), "channels", problems.append)]
    entries = document.get("dependencies", [])
    specs: list[str] = []
    pip: list[str] = []
    if isinstance(entries, list):
        for number, entry in enumerate(entries):
            problems += _dependency(entry, f"dependencies[{number}]", specs, pip)
    else:
        problems.append(("dependencies", "expected a list"))
    found = [place for channel in channels for place in _places(channel, file.parent)]
    problems += [("channels", problem) for each in found if (problem := _channel_problem(each))]
    if not found and specs:
        problems.append(("channels", "name at least one, such as `conda-forge`"))
    _refuse(file, problems)
    return Declared(tuple(found), tuple(specs), tuple(pip))


def _key_problems(document: Mapping[object, object]) -> Iterator[Problem]:
    for key in document:
        if key == "variables":
            yield "variables", "is not heeded: set variables where the command is, or in the code"
        elif key not in (*_KNOWN, *_IGNORED):
            near = difflib.get_close_matches(str(key), _KNOWN, n=1)
            known = ", ".join(f"`{each}`" for each in _KNOWN)
            yield str(key), "unknown key; " + (f"did you mean `{near[0]}`?" if near else known)


def _dependency(entry: object, at: str, specs: list[str], pip: list[str]) -> list[Problem]:
    """Take one dependency into the lists, and return what is wrong with it."""
    problems: list[Problem] = []
    if isinstance(entry, str) and entry.strip():
        specs.append(entry.strip())
    elif isinstance(entry, Mapping) and [*entry] == ["pip"]:
        for text in _strings(entry["pip"], f"{at}.pip", problems.append):
            problem = _pip_problem(text)
            if problem:
                problems.append((f"{at}.pip", problem))
            pip.append(text)
    else:
        problems.append((at, "expected a package such as `numpy >=1.26`, or `pip:` with a list"))
    return problems


def _pip_problem(text: str) -> str | None:
    if text.startswith("-"):
        return f"`{text}`: pip's options are not heeded here; packages only"
    if not _PIP.fullmatch(text):
        return f"`{masked(text)}` is not NAME, `NAME>=1.2` or `NAME @ URL`"
    return "a user or a password in a URL is for all to read" if masked(text) != text else None


def _strings(value: object, at: str, tell: Callable[[Problem], None]) -> list[str]:
    if isinstance(value, list) and all(isinstance(each, str) and each.strip() for each in value):
        return [each.strip() for each in value]
    tell((at, "expected a list of words"))
    return []


def _places(channel: str, folder: Path) -> tuple[str, ...]:
    """Return what a channel's name stands for."""
    if channel == "nodefaults":
        return ()
    if channel == "defaults":
        return _DEFAULTS
    if channel.startswith(("./", "../", "/", "~")):
        return ((folder / Path(channel).expanduser()).resolve().as_uri(),)
    return (channel.rstrip("/"),)


def _channel_problem(channel: str) -> str | None:
    parts = urlsplit(channel)
    if "://" not in channel:
        return None if _CHANNEL.fullmatch(channel) else f"`{channel}` is no channel"
    if parts.scheme not in _SCHEMES:
        return f"`{masked(channel)}` is no channel: one of {', '.join(_SCHEMES)}"
    if "@" in parts.netloc or "/t/" in parts.path:
        return "a password or a token in an address is for all to read; RATTLER_AUTH_FILE has them"
    return None


def _refuse(file: Path, problems: list[Problem]) -> None:
    if problems:
        count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = "".join(f"\n  {key}: {message}" for key, message in problems)
        raise UsageError(f"{count} in `{file}`{lines}")


def _one_line(text: str) -> str:
    return " ".join(text.split())
