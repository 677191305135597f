"""Locked conda packages, installed: into a prefix of this machine, or staged for an image."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from urllib.parse import unquote, urlsplit

from perdure.environments.conda.joined import digest_of
from perdure.environments.conda.platforms import this_subdir
from perdure.environments.conda.rattling import ask, cache_folder, failure
from perdure.environments.uv import unwritable
from perdure.errors import EnvironmentFailed, StorageError, TimeoutExpired
from perdure.model.image import CondaPackage
from perdure.model.report import Report, silent

#: Where the packages are in an image.
IMAGE_PREFIX = "/opt/conda-env"

_TIMEOUT_S = 3600.0
_NOARCH = "noarch"
_RECORDS = "conda-meta"
# What rattler writes down of the machine that installs.
_OF_THIS_MACHINE = ("extracted_package_dir", "link", "package_tarball_full_path")
_BREAKING = frozenset("'\"\\\n$`")
_NO_PLACE = "file:///conda"


def install_conda(
    packages: Sequence[CondaPackage], prefix: Path, *, report: Report = silent
) -> None:
    """Install the packages into `prefix`, to be used from there. Touches disk and network.

    Whoever calls it holds the folder, and knows when it is complete. No script of a package is run.

    Raises:
        EnvironmentFailed: they are for another platform, cannot be had, or are not what was locked.
        MissingProgram: py-rattler is not installed.
        StorageError: no space, or a folder that cannot be written.
        TimeoutExpired: it took too long.
    """
    if set(str(prefix)) & _BREAKING:
        # It is put into the text of files as it is: Python between quotes, commands before a shell.
        raise EnvironmentFailed(
            f"conda packages cannot be used from `{prefix}`: there is a quote, a `$` or such in it",
            hint="rename that folder; or perdure run --on docker: there they are in /opt",
        )
    here, locked = this_subdir(), subdir(packages)
    if locked not in (here, _NOARCH):
        raise EnvironmentFailed(
            f"the conda packages are locked for `{locked}`, this machine is `{here}`",
            hint="perdure run --on docker: an image has the platform of the lock",
        )
    _install(packages, prefix, None, cache_folder(prefix.parent.parent / "cache/rattler"), report)


def stage_conda(packages: Sequence[CondaPackage], folder: Path, *, report: Report = silent) -> None:
    """Make `folder` what /opt/conda-env is in an image: complete, or as it was before.

    Nothing in it names this machine. Files may be hard links into rattler's cache: they are to be
    copied, not to be changed. Raises as `install_conda`; any platform can be staged anywhere.
    """
    cache = cache_folder(folder.parent / ".rattler")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise unwritable(folder.parent, error) from error
    try:
        _install(packages, fresh, IMAGE_PREFIX, cache, report)
        _forget_this_machine(fresh)
        fresh.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        fresh.replace(folder)
    except OSError as error:
        raise unwritable(folder.parent, error) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _install(
    packages: Sequence[CondaPackage], prefix: Path, target: str | None, cache: Path, report: Report
) -> None:
    files = [each for each in packages if each.url.startswith("file:")]
    if files:
        _check_files(files)
        # rattler verifies what it fetches, but neither these files nor what it has of them.
        cache = cache / f"files-{digest_of(files)}"
    request = {
        "do": "install",
        "packages": [asdict(each) for each in packages],
        "prefix": str(prefix.absolute()),
        "target": target,
        "subdir": subdir(packages),
        "cache": str(cache),
    }
    try:
        answer = ask(request, "installing the conda packages", timeout_s=_TIMEOUT_S, report=report)
    except TimeoutExpired as error:
        raise TimeoutExpired("the conda packages were not installed within an hour") from error
    except StorageError:
        raise
    except EnvironmentFailed as error:
        raise _worded(error, packages) from error
    if failure(answer):
        raise EnvironmentFailed(f"the conda packages could not be had: {failure(answer)['text']}")


def _worded(error: EnvironmentFailed, packages: Sequence[CondaPackage]) -> EnvironmentFailed:
    """Return the error with the package named whose file is not what was locked."""
    if "hash" not in error.message.lower() or "mismatch" not in error.message.lower():
        return error
    named = [each for each in packages if each.url.rpartition("/")[2] in error.message]
    return _another(named[0].url if named else "a conda package")


def _another(url: str) -> EnvironmentFailed:
    return EnvironmentFailed(
        f"`{url}` is not the file that was locked: its SHA-256 is another one",
        hint="perdure lock --again, if the channel is to be trusted",
    )


def _check_files(packages: Sequence[CondaPackage]) -> None:
    """Return if files of this machine are what was locked."""
    for each in packages:
        path = Path(unquote(urlsplit(each.url).path))
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise EnvironmentFailed(
                f"the conda packages could not be had: `{path}`: {(error.strerror or '').lower()}",
                hint="perdure lock, where the channel is now",
            ) from error
        if found != each.sha256:
            raise _another(each.url)


def subdir(packages: Sequence[CondaPackage]) -> str:
    """Return the platform that packages are for, as their URLs tell it."""
    subdirs = {each.url.rsplit("/", 2)[1] for each in packages} - {_NOARCH}
    return min(subdirs) if subdirs else _NOARCH


def _forget_this_machine(prefix: Path) -> None:
    """Take out what would differ between two machines that stage the same packages."""
    (prefix / "CACHEDIR.TAG").unlink(missing_ok=True)
    for file in (prefix / _RECORDS).glob("*.json"):
        record = json.loads(file.read_bytes())
        kept = {key: value for key, value in record.items() if key not in _OF_THIS_MACHINE}
        if str(kept.get("url")).startswith("file:"):
            place = "/".join(str(kept["url"]).rsplit("/", 2)[1:])
            kept |= {"url": f"{_NO_PLACE}/{place}", "channel": _NO_PLACE}
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
        fresh.replace(file)
