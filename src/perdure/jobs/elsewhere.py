"""Jobs of another host: what is brought there before they run, and what is asked of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

from perdure.errors import StorageError
from perdure.jobs import folder as folders
from perdure.jobs import snapshot
from perdure.jobs.witness import Witness, read_witness, write_witness
from perdure.model.job import Data, JobRecord, Machine
from perdure.model.job_values import data_of, machine_of
from perdure.model.project import Project
from perdure.model.report import Report
from perdure.model.settings import Settings
from perdure.model.station import is_cloud
from perdure.runtime import names
from perdure.targets import shelf
from perdure.targets.place import Place
from perdure.targets.protocol import Handle, Target
from perdure.targets.registry import open_target

P = ParamSpec("P")
R = TypeVar("R")

KUBERNETES = "kubernetes"
_BATCH_BYTES = 4 << 20
# So many run folders are brought at a time.
_TOGETHER = 200
_TRIALS_S = 300.0
# A data folder of many files takes its time to be looked through.
_DATA_S = 600.0
_KEPT = (
    names.JOB_FILE,
    names.PATCH_FILE,
    folders.CODE_LIST,
    folders.ENVIRONMENT_LOCK,
    folders.IMAGE_LOCK,
)


def target_in(
    folder: Path, project: Project, name: str, settings: Settings | None = None
) -> Target:
    """Return the target that the job of a run folder is on; one elsewhere is where it was begun.

    Raises:
        UsageError: there is no such target.
    """
    witness = read_witness(folder)
    if witness is None and folders.is_scheduled(folder):
        from perdure.targets.slurm_opening import open_begun

        return open_begun(project, settings, name)
    if witness is None:
        return open_target(name, project, settings)
    if is_cloud(witness.station):
        from perdure.targets.cloud import open_begun as open_cloud_begun

        return open_cloud_begun(project, witness.target, witness.station)
    if witness.station.engine == KUBERNETES:
        from perdure.targets import kubernetes_opening

        began = (witness.target, witness.station)
        return kubernetes_opening.open_begun(project, settings, *began)
    from perdure.targets.remote import open_station

    return open_station(project, witness.target, witness.station)


def surroundings(place: Place) -> tuple[Data, Machine]:
    """Return the data and the machine that a job there has. Asks the host."""
    from perdure.jobs import there

    said = place.host.call_long(there.surroundings, place.root, timeout_s=_DATA_S)
    return data_of(said["data"]), machine_of(said["machine"])


def mark(target: Target, record: JobRecord) -> None:
    """Write down that a job is elsewhere, before it is a job: nobody takes it for this machine's.

    Nothing for a job of this machine.
    """
    if target.place.is_here:
        return
    from perdure.targets.cloud import Cloud
    from perdure.targets.remote import Remote

    if isinstance(target, Remote | Cloud):
        write_witness(record.folder, Witness(target.name, target.station))


def send_code(place: Place, project: Project, tree: snapshot.Tree, report: Report) -> None:
    """Bring a snapshot there: only contents that the host lacks are sent.

    Raises:
        HostUnreachable: the host does not answer.
        StorageError: no space there, or contents that are gone here.
    """
    from perdure.jobs import there

    text = tree.to_json()
    missing = _asked(place, there.lacking, place.root, text)
    if missing is None:
        return
    sent = 0
    for batch in _batches(project, [(str(kind), str(digest)) for kind, digest in missing]):
        report(f"sending code to `{place.host.name}`", done=sent, total=len(missing))
        _asked(place, there.take, place.root, batch)
        sent += len(batch)
    _asked(place, there.build, place.root, text)


def ensure_code(place: Place, project: Project, record: JobRecord, report: Report) -> None:
    """Return if the snapshot of a recorded job is there and as it was, sent again if it is gone.

    Raises:
        StorageError: it was changed there, or its list of files is gone.
    """
    from perdure.jobs import there

    if record.code.snapshot is None:
        return
    text = there.read_list(record.folder)
    if text is None:
        raise StorageError(
            f"the list of the code of `{record.job}` is gone",
            hint="perdure run: the code as it is now",
        )
    if not place.host.call(there.verify, place.root, text):
        send_code(place, project, snapshot.Tree.from_json(text), report)


def send_folder(place: Place, record: JobRecord) -> None:
    """Bring a run folder there as it was submitted, if it is not there yet.

    Raises:
        ConflictError: there is another job of that name there.
    """
    from perdure.jobs import there

    files = {
        name: (record.folder / name).read_bytes()
        for name in _KEPT
        if (record.folder / name).is_file()
    }
    _asked(place, there.begin, place.root, place.name(record.folder), files)


def send_trials(place: Place, base: JobRecord, records: Sequence[JobRecord]) -> None:
    """Bring the run folders of a sweep's trials there that are not there yet, many with one call.

    What they have in common is there, in the folder of `base`. Nothing is durable yet: what is lost
    is made again.

    Raises:
        ConflictError: there is another job of such a name there.
        StorageError: no space there, or a folder that cannot be written.
    """
    from perdure.jobs import there

    common = place.name(base.folder)
    for first in range(0, len(records), _TOGETHER):
        some = records[first : first + _TOGETHER]
        files = {each.job: (each.folder / names.JOB_FILE).read_bytes() for each in some}
        with place.writing():
            given = (place.root, common, files)
            place.host.call_long(there.begin_trials, *given, timeout_s=_TRIALS_S)


def adopt(target: Target, candidates: Iterable[Path]) -> list[str]:
    """Return the jobs of a target that came here without word of where they run, as by a pull.

    From now on their host is asked. Nothing for a target of this machine.
    """
    found = []
    for folder in candidates:
        known = folders.is_job(folder) and not folders.is_elsewhere(folder)
        if known and folders.target_of(folder) == target.name:
            mark(target, folders.read_record(folder))
            found.append(folder.name)
    return found


def sweep(place: Place) -> int:
    """Return how many snapshots were deleted there that no job there needs any more."""
    from perdure.jobs import there

    return place.host.call_long(there.sweep, place.root, timeout_s=_DATA_S)


def forget(place: Place, folder: Path) -> bool:
    """Return whether a job never began there; its run folder there is removed then."""
    from perdure.jobs import there

    return place.host.call(there.forget, place.root, place.name(folder))


def fetch(place: Place, folder: Path) -> None:
    """Bring a folder of the project here from where it is; nothing for one of this machine.

    The weights of checkpoints stay there.
    """
    if not place.is_here:
        from perdure.targets.gathering import gather

        gather(place, folder)


def make_folders(place: Place, wanted: Iterable[Path]) -> None:
    """Make folders of the project, here and where its jobs run."""
    made = list(wanted)
    shelf.make([str(each) for each in made])
    if not place.is_here:
        place.host.call(shelf.make, [place.path(each) for each in made])


def move_folder(place: Place, folder: Path, final: Path) -> None:
    """Give a folder of the project another name, here and where its jobs run."""
    if not place.is_here:
        place.host.call(shelf.move, place.path(folder), place.path(final))
    folder.rename(final)


def remove_folder(place: Place, folder: Path) -> None:
    """Remove a folder of the project, here and where its jobs run."""
    if not place.is_here:
        place.host.call(shelf.remove, place.path(folder))
    shelf.remove(str(folder))


def touch(place: Place, path: Path) -> None:
    """Make an empty file where the project's jobs run."""
    place.host.call(shelf.touch, place.path(path))


def cores(place: Place) -> int:
    """Return how many cores the machine has that the project's jobs run on."""
    return place.host.call(shelf.cores)


def finish(target: Target, handle: Handle, now: float) -> None:
    """Stop what is left of a job without a supervisor, and record its end, where it is.

    Raises:
        ConflictError: its supervisor lives.
    """
    from perdure.jobs import ending, there
    from perdure.targets.cloud import Cloud
    from perdure.targets.remote import Remote

    if isinstance(target, Cloud):
        target.finish(handle, now)
    elif isinstance(target, Remote):
        if target.station.engine == KUBERNETES:
            _released(target, handle)
        run_dir = target.place.path(handle.run_dir)
        target.host.call(there.finish, target.values(), run_dir)
    else:
        ending.finish(target, handle, now)


def prices(target: Target) -> list[str]:
    """Return what machines of a target cost, a line each; nothing where nobody lends them."""
    from perdure.targets.cloud import Cloud

    return target.price_words() if isinstance(target, Cloud) else []


def tell_of_wait(target: Target, report: Report) -> None:
    """Tell what is waited for while a job is handed over to somebody who lends machines."""
    from perdure.targets.cloud import Cloud

    if isinstance(target, Cloud):
        report(target.wait_words())


def _released(target: Target, handle: Handle) -> None:
    """Have a run folder know that its cluster has nothing of its job, if it has nothing of it."""
    from perdure.targets.kubernetes import Kubernetes

    assert isinstance(target, Kubernetes)
    target.release(handle)


def _asked(place: Place, function: Callable[P, R], *given: P.args, **named: P.kwargs) -> R:
    """Return what a function returns there; what a disk there refuses is one clear error.

    Raises:
        StorageError: no space there, or a folder that cannot be written.
    """
    with place.writing():
        return place.host.call(function, *given, **named)


def _batches(
    project: Project, contents: Iterable[tuple[str, str]]
) -> Iterator[list[list[str | bytes]]]:
    batch: list[list[str | bytes]] = []
    size = 0
    for kind, digest in contents:
        data = snapshot.read_object(project, snapshot.Entry(kind, digest))
        batch.append([kind, digest, data])
        size += len(data)
        if size > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
