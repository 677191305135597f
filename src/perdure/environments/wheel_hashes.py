"""The hashes in uv.lock of wheels that lie in folders of this machine: uv leaves them out.

Without one, uv reads a whole wheel for each export, a second for torch; and whatever has the name
would be installed. uv keeps a hash that it finds until it resolves anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

_SOURCE = re.compile(r'source = \{ (?:registry = "(?P<registry>[^"\\]+)")?')
_WHEEL = re.compile(
    r'(?P<begin> *\{ path = "(?P<path>[^"\\]+)")(?:, hash = "(?P<hash>sha256:[0-9a-f]{64})")?'
    r"(?P<rest>[^{}]*\},?\s*)"
)


def known_hashes(lock: Path) -> dict[Path, str]:
    """Return the hashes that a uv.lock has of such wheels, if they have not changed since.

    None where there is no lock. Reads the lock, and looks at the wheels.
    """
    found = {}
    with contextlib.suppress(OSError, UnicodeDecodeError):
        written_ns = lock.stat().st_mtime_ns
        for _, match, file in _wheels(lock.read_bytes().decode("utf-8"), lock.parent):
            # A copy that keeps its time of writing has another time of change.
            if match and match["hash"] and file.stat().st_ctime_ns < written_ns:
                found[file] = match["hash"]
    return found


def with_hashes(text: str, root: Path, known: Mapping[Path, str]) -> str:
    """Return the text of the uv.lock in `root` with the hashes of such wheels.

    Reads those that are not known, and leaves out those that are not there.
    """
    lines = []
    for line, match, file in _wheels(text, root):
        digest = "" if match is None or match["hash"] else known.get(file) or _digest(file)
        if match and digest:
            lines.append(f'{match["begin"]}, hash = "{digest}"{match["rest"]}')
        else:
            lines.append(line)
    return "".join(lines)


def _wheels(text: str, root: Path) -> Iterator[tuple[str, re.Match[str] | None, Path]]:
    """Yield each line; with its match and its file where it is such a wheel's."""
    registry: str | None = None
    for line in text.splitlines(keepends=True):
        if source := _SOURCE.match(line):
            registry = source["registry"]
        wheel = _WHEEL.fullmatch(line) if registry else None
        # Relative to the folder that the index is, which is relative to the project.
        yield line, wheel, Path(root, registry or "", wheel["path"] if wheel else "")


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
    except OSError:
        return ""
