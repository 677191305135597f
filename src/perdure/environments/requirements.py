"""What an environment gets of uv.lock: exported by uv, with one variant, as requirements.

Source: PEP 751, "A file format to record Python dependencies", which `uv export` writes.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from perdure.environments.conda.provided import names
from perdure.environments.interpreter import exact_minor
from perdure.environments.lock import LOCK_FILE, lock_digest, read_manifest
from perdure.environments.lockfile import read_pinned, write_whole
from perdure.environments.machine import local_folder
from perdure.environments.sync import choose_variant
from perdure.environments.tags import fits
from perdure.environments.uv import (
    prepare_state,
    python_words,
    run_uv,
    this_machine,
    with_cache,
)
from perdure.errors import EnvironmentFailed
from perdure.model.image import Requirement
from perdure.model.project import Project
from perdure.model.report import silent
from perdure.model.settings import Settings

Table = Mapping[str, object]

# The default of uv itself, which a lock spells out.
_DEFAULT_INDEX = "https://pypi.org/simple"
_PLATFORM = "linux/amd64"
_FOLDER = "exports"
_KEPT = 16
_TIMEOUT_S = 300.0
# Raised when what is kept has another shape.
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Target:
    """Which wheels will do: where the project is, the image's platform, its Python 3's minor."""

    root: Path
    platform: str
    minor: int | None


def export(
    project: Project, settings: Settings, variant: str | None, *, groups: Iterable[str] = ()
) -> tuple[Requirement, ...]:
    """Return what the environment of a variant gets, by name; with `groups`, what these need too.

    Exactly the one extra is chosen; a group that the project does not have needs nothing. A second
    call for the same uv.lock runs nothing.

    Raises:
        EnvironmentFailed: there is no lock, uv failed, or a package is a kind that images cannot
            hold: a repository, or a folder.
    """
    digest = lock_digest(project)
    if digest is None:
        raise EnvironmentFailed(f"there is no `{LOCK_FILE}` yet", hint="perdure lock")
    chosen = choose_variant(project, settings, variant)
    # A project need not have any of them.
    also = sorted(set(groups) & read_manifest(project).groups)
    found = _exported_once(project, digest, chosen, ())
    if also:
        known = {each.name for each in found}
        rest = _exported_once(project, digest, None, also)
        found = (*found, *(each for each in rest if each.name not in known))
    _refuse_absent(found)
    return tuple(sorted(found, key=lambda each: (each.name, each.version)))


def _exported_once(
    project: Project, digest: str, variant: str | None, groups: Sequence[str]
) -> tuple[Requirement, ...]:
    """Return what a variant gets, or groups by themselves: what was kept of it, if it was.

    uv reads each wheel of this machine again for an export, so the two are asked for apart.
    """
    wanted = _for_image(project)
    key = json.dumps([_FORMAT, digest, variant, groups, wanted.platform, wanted.minor])
    name = f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    kept = project.state / _FOLDER / name
    found = _kept(kept)
    if found is None:
        found = read_export(_exported(project, variant, groups), wanted)
        _keep(kept, found)
    return found


def read_export(text: str, wanted: Target) -> tuple[Requirement, ...]:
    """Return the requirements of the text of a pylock.toml, by name. Pure.

    Raises:
        EnvironmentFailed: naming all packages that an image cannot hold.
    """
    packages = tomllib.loads(text).get("packages", [])
    refused = [each for each in packages if "vcs" in each or "directory" in each]
    if refused:
        raise _refusal(refused)
    found = [_requirement(each, wanted) for each in packages]
    return tuple(sorted(found, key=lambda each: (each.name, each.version)))


def _for_image(project: Project) -> Target:
    lock = read_pinned(project)
    requires = read_manifest(project).requires_python
    minor = exact_minor((lock.python if lock else "") or project.environment.python, requires)
    return Target(project.root, lock.platform if lock else _PLATFORM, minor)


def _refuse_absent(found: Iterable[Requirement]) -> None:
    absent = [each for each in found if each.file is not None and not each.file.exists()]
    if absent:
        listed = ", ".join(f"`{each.file}`" for each in absent)
        raise EnvironmentFailed(
            f"the lock names files that are not on this machine: {listed}",
            hint="perdure lock --again: here they may come from an index",
        )


def _exported(project: Project, variant: str | None, groups: Iterable[str]) -> str:
    prepare_state(project.state)
    environ = with_cache(this_machine().environ, project.state)
    extra = ("--extra", variant) if variant else ()
    lock = read_pinned(project)
    # What conda brings is there already.
    brought = (
        (word for name in names(lock.conda) for word in ("--no-emit-package", name)) if lock else ()
    )
    words = (
        *("export", "--frozen", "--format", "pylock.toml", "--no-header", "--no-emit-project"),
        *(word for each in groups for word in ("--only-group", each)),
        *(() if groups else ("--no-default-groups", *extra)),
        *brought,
        *python_words(project, read_manifest(project)),
    )
    return run_uv(words, cwd=project.root, environ=environ, timeout_s=_TIMEOUT_S, report=silent)


def _requirement(package: Table, wanted: Target) -> Requirement:
    root = wanted.root
    files = [_table(package.get("archive"))] if "archive" in package else _tables(package)
    wheels = [each for each in files if _name(each).endswith(".whl")]
    fitting = [each for each in wheels if fits(_name(each), wanted.minor, wanted.platform)]
    sources = [each for each in files if not _name(each).endswith(".whl")]
    # One file is enough where it lies on this machine: it is carried into the image.
    local = next((each for each in [*fitting, *sources] if _local(each, root)), None)
    archive = package.get("archive")
    url = _url(_table(archive)) if archive and local is None else None
    return Requirement(
        name=str(package["name"]),
        version=str(package.get("version", "")),
        hashes=tuple(sorted(filter(None, map(_hash, files if local is None else [local])))),
        marker=str(package.get("marker", "")),
        file=None if local is None else _local(local, root),
        index=None if local or url else _index(package),
        has_wheel=bool(fitting) if local is None else local in fitting,
        url=url,
    )


def _tables(package: Table) -> list[Table]:
    wheels = package.get("wheels")
    listed = wheels if isinstance(wheels, list) else []
    return [each for each in [*listed, package.get("sdist")] if isinstance(each, dict)]


def _table(value: object) -> Table:
    return value if isinstance(value, dict) else {}


def _name(file: Table) -> str:
    place = str(file.get("name") or file.get("path") or urlsplit(str(file.get("url", ""))).path)
    return unquote(place.rpartition("/")[2])


def _local(file: Table, root: Path) -> Path | None:
    path = file.get("path")
    if isinstance(path, str):
        return Path(root, path)
    url = str(file.get("url", ""))
    return local_folder(url) if url.startswith("file:") else None


def _hash(file: Table) -> str:
    digest = _table(file.get("hashes")).get("sha256")
    return f"sha256:{digest}" if isinstance(digest, str) else ""


def _url(file: Table) -> str | None:
    url = file.get("url")
    return _bare(url) if isinstance(url, str) else None


def _index(package: Table) -> str | None:
    index = _bare(str(package.get("index", "")))
    return index if index and index.rstrip("/") != _DEFAULT_INDEX else None


def _bare(url: str) -> str:
    """Return the URL without a user and a password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _refusal(packages: Iterable[Table]) -> EnvironmentFailed:
    listed = ", ".join(f"`{each['name']}` from {_origin(each)}" for each in packages)
    return EnvironmentFailed(
        f"an image holds wheels with a digest, which these have not: {listed}",
        hint="uv build --wheel --out-dir vendor FOLDER, then in [tool.uv.sources]: "
        'NAME = { path = "vendor/NAME-VERSION-py3-none-any.whl" }',
    )


def _origin(package: Table) -> str:
    directory = _table(package.get("directory")).get("path")
    if directory is not None:
        return f"the folder `{directory}`"
    return f"the repository `{_bare(str(_table(package.get('vcs')).get('url', '')))}`"


def _kept(file: Path) -> tuple[Requirement, ...] | None:
    try:
        tables = json.loads(file.read_bytes())
        return tuple(
            Requirement(
                **{
                    **each,
                    "hashes": tuple(each["hashes"]),
                    "file": each["file"] and Path(each["file"]),
                }
            )
            for each in tables
        )
    except (OSError, ValueError, KeyError, TypeError):
        # Missing or torn: uv is asked once more.
        return None


def _keep(file: Path, found: Iterable[Requirement]) -> None:
    tables = [{**asdict(each), "file": each.file and str(each.file)} for each in found]
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps(tables).encode())
    others = sorted(file.parent.glob("*.json"), key=lambda each: each.stat().st_mtime)
    for each in others[:-_KEPT]:
        each.unlink(missing_ok=True)
