"""Files shared out between streams that move them side by side. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from perdure.moving.entry import Entry

MOST = 4
# A stream more pays only from here on.
_FILES = 200
_BYTES = 64 << 20


def share_out(files: Mapping[str, Entry]) -> list[list[str]]:
    """Return the paths for each stream: about the same bytes for all, each in the order of names.

    The largest first to whoever has least, as Graham (1969) schedules.
    """
    total = sum(entry.size for entry in files.values())
    wanted = max(len(files) // _FILES, total // _BYTES)
    count = max(1, min(MOST, wanted, len(files)))
    shares: list[list[str]] = [[] for _ in range(count)]
    loads = [0] * count
    for path in sorted(files, key=lambda each: (-files[each].size, each)):
        least = loads.index(min(loads))
        shares[least].append(path)
        # A file costs something even if it is empty.
        loads[least] += files[path].size + 4096
    return [sorted(share) for share in shares if share]
