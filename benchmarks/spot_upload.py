"""What it takes of a machine to bring a checkpoint into a bucket, beside its training.

    python -m benchmarks.spot_upload ADDRESS MIB TURNS

A process of its own, as on a machine: prints the processor seconds of each upload as JSON, of all
its threads together. The server and the link are not in it, and no TLS.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from perdure.clouds.opening import open_folder
from perdure.clouds.side.checkpoints import Shelf
from perdure.hosts import local
from perdure.moving.address import Address, parse_address

_LIMIT_S = 600.0


def processor_s(address: Address, mib: int, turns: int) -> list[float]:
    """Return the processor seconds of each upload, by a process of its own."""
    module = ("-m", "benchmarks.spot_upload")
    argv = (sys.executable, *module, str(address), str(mib), str(turns))
    done = local.run(argv, timeout_s=_LIMIT_S)
    if done.returncode != 0:
        raise RuntimeError(done.complaint)
    found: list[float] = json.loads(done.text)
    return found


def uploads(address: Address, mib: int, turns: int) -> list[float]:
    """Return the processor seconds of each upload of as many checkpoints, by this process."""
    shelf = Shelf(open_folder(address), "otter")
    found = []
    with tempfile.TemporaryDirectory(prefix="perdure-upload-") as scratch:
        # The first one opens connections, which later ones have.
        for turn in range(turns + 1):
            folder = Path(scratch, f"g000001-s{turn + 1:010d}")
            folder.mkdir()
            (folder / "state.safetensors").write_bytes(os.urandom(mib << 20))
            began = time.process_time()
            shelf.upload(folder)
            found.append(time.process_time() - began)
    return found[1:]


def main(argv: Sequence[str]) -> int:
    """Print what each upload took."""
    address, mib, turns = argv
    print(json.dumps(uploads(parse_address(address), int(mib), int(turns))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
