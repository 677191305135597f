"""Solve, read and install conda packages by py-rattler: a program of its own, imported by nobody.

    python -P worker.py < REQUEST > ANSWER

Both are one JSON object; progress goes to standard error, a line `N TOTAL` or words. py-rattler may
abort while an interpreter ends, so this one ends with `os._exit`. Touches disk and network.
"""

from __future__ import annotations

import asyncio
import difflib
import json
import os
import re
import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import rattler
    from rattler.install import InstallerReporter
    from rattler.networking import Client

Request = Mapping[str, object]
Answer = dict[str, object]

_RETRIES = 2
_NEAR = 3
_VERSIONS = 5
_PURL = re.compile(r"pkg:pypi/([^@?#]+)")


async def solve(request: Request) -> Answer:
    """Return the packages that the specs of a request come to, or what is wrong with them."""
    import rattler
    from rattler.exceptions import SolverError

    specs, broken = _specs(_words(request["specs"]))
    if broken:
        return _error("spec", specs=broken)
    lists = Channels(request)
    previous = [await lists.matching(each) for each in _words(request["previous"])]
    try:
        records = await rattler.solve(
            lists.channels,
            specs,
            lists.gateway,
            platforms=lists.platforms,
            locked_packages=[record for records in previous for record in records[:1]],
            virtual_packages=_virtual(request),
        )
    except SolverError as error:
        return await _unsolved(str(error), specs, lists)
    return {"packages": [_described(record) for record in records], "pip": []}


class Channels:
    """The lists of packages of a request's channels, for its platform."""

    def __init__(self, request: Request) -> None:
        import rattler

        self.channels = [rattler.Channel(each) for each in _words(request["channels"])]
        self.platforms = [rattler.Subdir(str(request["subdir"])), rattler.Subdir("noarch")]
        self.gateway = rattler.Gateway(
            cache_dir=Path(str(request["cache"]), "repodata"),
            # Sharded lists are what only some servers have; the plain ones are everywhere.
            default_config=rattler.SourceConfig(sharded_enabled=False),
            client=_client(),
        )

    async def names(self) -> list[str]:
        """Return the names of all packages."""
        found = await self.gateway.names(self.channels, self.platforms)
        return sorted(each.normalized for each in found)

    async def matching(self, spec: rattler.MatchSpec | str) -> list[rattler.RepoDataRecord]:
        """Return the packages that a specification matches by itself."""
        found = await self.gateway.query(self.channels, self.platforms, [spec], recursive=False)
        return [record for records in found for record in records]


async def _unsolved(text: str, specs: list[rattler.MatchSpec], channels: Channels) -> Answer:
    """Return why there is no solution: no such package, no such version, or the solver's word."""
    names = await channels.names()
    missing, unmatched = [], []
    for spec in specs:
        name = _name(spec)
        if name.startswith("__"):
            continue
        if name not in names:
            near = difflib.get_close_matches(name, names, _NEAR)
            missing.append({"name": name, "near": near})
        elif not await channels.matching(spec):
            versions = {record.version for record in await channels.matching(name)}
            newest = [str(each) for each in sorted(versions)[-_VERSIONS:]]
            unmatched.append({"spec": str(spec), "name": name, "versions": newest})
    if missing:
        return _error("missing", packages=missing)
    return _error("version", packages=unmatched) if unmatched else _error("unsolvable", text=text)


async def read(request: Request) -> Answer:
    """Return the packages of a conda-lock.yml or a pixi.lock, for one platform."""
    import rattler

    lock = rattler.LockFile.from_path(Path(str(request["file"])))
    environment = lock.default_environment()
    wanted = str(request["subdir"])
    platforms = {str(each.subdir): each for each in lock.platforms()}
    if environment is None or wanted not in platforms:
        return _error("platform", platforms=sorted(platforms))
    packages = environment.conda_repodata_records_for_platform(platforms[wanted]) or []
    pip = environment.pypi_packages_for_platform(platforms[wanted]) or []
    return {
        "packages": [_described(record) for record in packages],
        "pip": [{"name": each.name, "version": each.version} for each in pip],
    }


async def install(request: Request) -> Answer:
    """Install packages into a prefix; their files are verified by their digests."""
    import rattler

    records = [_record(each) for each in cast("list[dict[str, str]]", request["packages"])]
    await rattler.install(
        records,
        str(request["prefix"]),
        cache_dir=Path(str(request["cache"])),
        platform=rattler.Subdir(str(request["subdir"])),
        # A package's scripts would run here, as this user, on a machine they were not made for.
        execute_link_scripts=False,
        client=_client(),
        reporter=_counter(len(records)),
        alternative_target_prefix=cast("str | None", request["target"]),
    )
    return {}


def _counter(total: int) -> InstallerReporter:
    """Return what tells how many packages are in place."""
    from rattler.install import InstallerReporter

    class Counter(InstallerReporter):
        done = 0

        def on_link_complete(self, index: int) -> None:
            del index
            self.done += 1
            sys.stderr.buffer.write(f"{self.done} {total}\n".encode())
            sys.stderr.flush()

    return Counter()  # type: ignore[abstract]  # its protocol has bodies, if empty ones


def _virtual(request: Request) -> list[rattler.GenericVirtualPackage]:
    from rattler import GenericVirtualPackage, PackageName, Version
    from rattler.package.build_string import BuildString

    return [
        GenericVirtualPackage(PackageName(name), Version(version), BuildString(build))
        for name, version, build in cast("list[list[str]]", request["virtual"])
    ]


def _specs(texts: list[str]) -> tuple[list[rattler.MatchSpec], list[str]]:
    from rattler import MatchSpec
    from rattler.exceptions import InvalidMatchSpecError

    specs, broken = [], []
    for text in texts:
        try:
            spec = MatchSpec(text)
            _name(spec)
            specs.append(spec)
        except (InvalidMatchSpecError, ValueError) as error:
            broken.append(f"`{text}`: {error}")
    return specs, broken


def _name(spec: rattler.MatchSpec) -> str:
    name = spec.name.as_package_name()
    if name is None:
        raise ValueError("names no package")
    return name.normalized


def _client() -> Client:
    """Return a client with the mirrors, proxies and certificates of rattler's own settings."""
    from rattler.config import Config
    from rattler.networking import Client

    config = Config.load_from_default_locations("pixi")
    if config.tls_root_certs is None and os.environ.get("SSL_CERT_FILE"):
        config.set("tls-root-certs", "system")
    return Client.from_config(config, _RETRIES)


def _described(record: rattler.RepoDataRecord) -> Answer:
    document = json.loads(record.to_json())
    purls = document.get("purls")
    found = [match[1] for each in purls or () if (match := _PURL.match(each))]
    depends = [each.split()[0].partition("=")[0] for each in record.depends]
    return {
        "name": record.name.normalized,
        "version": str(record.version),
        "build": str(record.build),
        "url": record.url,
        "sha256": record.sha256.hex() if record.sha256 else "",
        "pypi": None if purls is None else next(iter(found), ""),
        "for_python": document.get("noarch") == "python" or "python" in depends,
    }


def _record(package: Mapping[str, str]) -> rattler.RepoDataRecord:
    import rattler
    from rattler.package.build_string import BuildString

    channel, subdir, file = package["url"].rsplit("/", 2)
    record = rattler.PackageRecord(
        package["name"],
        package["version"],
        BuildString(package["build"]),
        0,
        subdir,
        sha256=bytes.fromhex(package["sha256"]),
    )
    return rattler.RepoDataRecord(record, file, package["url"], channel)


def _words(value: object) -> list[str]:
    return [str(each) for each in cast("list[object]", value)]


def _error(kind: str, **details: object) -> Answer:
    return {"error": {"kind": kind, **details}}


_VERBS: Mapping[str, Callable[[Request], Coroutine[object, object, Answer]]] = {
    "solve": solve,
    "read": read,
    "install": install,
}


def answer(request: Request) -> Answer:
    """Return the answer to a request; what went wrong is an answer too."""
    try:
        from rattler.exceptions import GatewayError
    except ImportError as error:
        return _error("absent", text=str(error))
    try:
        return asyncio.run(_VERBS[str(request["do"])](request))
    except GatewayError as error:
        return _error("channel", text=str(error))
    except Exception as error:  # noqa: BLE001 - told by who reads the answer
        return _error("other", text=f"{error}" or type(error).__name__)


if __name__ == "__main__":
    told = json.dumps(answer(json.loads(sys.stdin.buffer.read())))
    sys.stdout.buffer.write(told.encode())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
