"""A project's folder made on an empty disk: code, run folder, what earlier machines have left."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from perdure.clouds.side import checkpoints, keys
from perdure.clouds.side.bucket import Bucket
from perdure.clouds.side.order import Order
from perdure.clouds.side.outputs import Outputs
from perdure.environments import away
from perdure.errors import StorageError
from perdure.jobs import there
from perdure.model.report import Report

_WORKERS = 16
_BATCH = 64


def bring_code(bucket: Bucket, root: Path, run_dir: Path) -> None:
    """Make the snapshot of a job's code, of contents from the bucket. Touches network and disk.

    Raises:
        StorageError: contents are missing, or are not what their name says.
    """
    text = there.read_list(run_dir)
    if text is None:
        return
    missing = there.lacking(str(root), text)
    if missing is None:
        return
    wanted = [(str(kind), str(digest)) for kind, digest in missing]
    with ThreadPoolExecutor(_WORKERS) as pool:
        for batch in _batches(wanted):
            found = pool.map(lambda each: bucket.get(keys.contents(each[1], each[0])), batch)
            contents: list[list[object]] = []
            for (kind, digest), each in zip(batch, found, strict=True):
                if each is None:
                    raise StorageError(f"the bucket lacks the contents `{digest}` of the code")
                contents.append([kind, digest, each.data])
            there.take(str(root), contents)
    there.build(str(root), text)


def bring_environment(
    bucket: Bucket, root: Path, prefix: str | None, say: Callable[[str], None]
) -> str | None:
    """Return where the environment is that a job has below its project's usual folder: installed.

    None for a job without one. Runs uv; touches network and disk.

    Raises:
        EnvironmentFailed: uv could not install it.
        StorageError: what is to be installed is not in the bucket.
    """
    if prefix is None:
        return None
    name = Path(prefix).name
    found = bucket.get(keys.environment(name))
    if found is None:
        raise StorageError(f"the bucket lacks the environment `{name}`")
    usual = str(json.loads(found.data)["root"])
    # This machine may have the project elsewhere than most have.
    content = json.loads(found.data.decode().replace(f"{usual}/", f"{root}/"))
    wanted = content["wanted"]
    for key in bucket.names(keys.FILES):
        _bring_file(bucket, key, root / key.removeprefix(f"{keys.FILES}/"))
    say(f"installing the environment `{name}`")
    away.install(str(root), content["prefix"], wanted, _reporting(say))
    return f"{root}/{content['prefix']}"


def _reporting(say: Callable[[str], None]) -> Report:
    def report(message: str, *, done: int | None = None, total: int | None = None) -> None:  # noqa: ARG001
        say(message)

    return report


def _bring_file(bucket: Bucket, key: str, file: Path) -> None:
    found = bucket.get(key)
    if found is not None and not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(found.data)
        # A program among wheels: uv.
        file.chmod(0o755)


def bring_folder(bucket: Bucket, root: Path, order: Order, job: str) -> Path:
    """Return the run folder as it was submitted. Touches network and disk."""
    files = {}
    for name in order.files:
        found = bucket.get(keys.job(job, f"{keys.FOLDER}/{name}"))
        if found is None:
            raise StorageError(f"the bucket lacks `{name}` of the run folder")
        files[name] = found.data
    there.begin(str(root), f"results/{job}", files)
    return root / "results" / job


def bring_history(
    bucket: Bucket, job: str, run_dir: Path, warn: Callable[[str], None]
) -> tuple[Outputs, str]:
    """Return the outputs to go on with, and the newest checkpoint ("": none)."""
    outputs = Outputs(bucket, job, run_dir, warn)
    outputs.bring()
    return outputs, checkpoints.restore(checkpoints.Shelf(bucket, job), run_dir, warn)


def _batches(wanted: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    for start in range(0, len(wanted), _BATCH):
        yield wanted[start : start + _BATCH]
