"""The file of an image, brought to a cluster: there whole or not at all."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from perdure.errors import HostUnreachable, StorageError
from perdure.hosts.progress import Progress
from perdure.hosts.ssh import Ssh
from perdure.jobs.clean import delete
from perdure.jobs.folder import write_record
from perdure.jobs.launch import JobRequest, submit
from perdure.jobs.there import sweep
from perdure.jobs.workspace import Workspace
from perdure.model.job import ImageUsed
from perdure.model.report import silent
from perdure.model.settings import Settings
from perdure.targets import squashed
from perdure.targets.place import Place
from perdure.targets.slurm_image import FOLDER, file_name
from tests.engines.hosts import Hosts
from tests.jobs.projects import make_project

IMAGE = ImageUsed("perdure/my cats:runtime-cpu-0123456789abcdef", "sha256:" + "ab" * 32, 1000, 1000)
SIZE = 40 << 20


@pytest.fixture
def place(hosts_here: Hosts, tmp_path: Path) -> Iterator[Place]:
    """Return a project on gpu1 where 64 MB can be kept; the image's file is made already."""
    root = f"{hosts_here.small('gpu1')}/a 'cluster'"
    local = tmp_path / "my cats"
    made = local / FOLDER / "sending" / file_name(IMAGE)
    made.parent.mkdir(parents=True)
    made.write_bytes(os.urandom(SIZE))
    yield Place(Ssh("gpu1", "gpu1"), root, local)
    hosts_here.run("gpu1", "rm", "-rf", root)


def sent(place: Place, hosts: Hosts) -> str:
    """Return the digest of what the nodes have, "" where there is no such file."""
    said = hosts.run("gpu1", "sha256sum", f"{place.root}/{FOLDER}/{file_name(IMAGE)}").out
    return said.split()[0] if said else ""


def bring(place: Place) -> None:
    squashed.bring(place, IMAGE, Settings(), silent)


def test_it_is_named_by_its_tag_and_by_its_contents() -> None:
    assert file_name(IMAGE) == "my cats-runtime-cpu-0123456789abcdef-abababababab.sqfs"


def test_files_of_images_that_no_job_needs_are_deleted_with_the_snapshots(tmp_path: Path) -> None:
    project = make_project(tmp_path / "my cats", {"train.py": ""})
    folder = project.root / FOLDER
    (folder / "sending").mkdir(parents=True)
    needed = folder / file_name(IMAGE)
    for file in (needed, folder / "old.sqfs", folder / "sending" / "x", folder / "y.perdure-part"):
        file.write_text("x")
    workspace = Workspace(project, Settings())
    record = submit(workspace, JobRequest(command=("true",)))
    write_record(replace(record, environment=replace(record.environment, image=IMAGE)))
    delete(workspace, [])
    assert [file for file in folder.rglob("*") if file.is_file()] == [needed]
    (folder / "old.sqfs").write_text("x")
    sweep(str(project.root))
    assert [file for file in folder.rglob("*") if file.is_file()] == [needed]
    write_record(record)
    sweep(str(project.root))
    assert not needed.exists()


@pytest.mark.long
def test_a_connection_that_is_cut_leaves_nothing_and_is_gone_on_with(
    place: Place, hosts_here: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = place.local / FOLDER / "sending" / file_name(IMAGE)
    digest = hashlib.sha256(made.read_bytes()).hexdigest()
    told: list[int] = []
    cut = threading.Event()

    class Cutting(Progress):
        def __call__(self, count: int) -> None:
            told.append(count)
            if count > SIZE // 2 and not cut.is_set():
                cut.set()
                hosts_here.cut("gpu1")

    monkeypatch.setattr(squashed, "Progress", Cutting)
    try:
        with pytest.raises(HostUnreachable):
            bring(place)
    finally:
        hosts_here.mend("gpu1")
    assert sent(place, hosts_here) == ""
    assert not squashed.is_there(place, IMAGE)
    assert made.is_file()
    told.clear()
    bring(place)
    assert sent(place, hosts_here) == digest
    assert told[0] > SIZE // 2
    assert squashed.is_there(place, IMAGE)
    assert not made.exists()


@pytest.mark.long
def test_a_full_disk_there_is_one_clear_error_and_leaves_no_image(
    place: Place, hosts_here: Hosts
) -> None:
    other = f"{hosts_here.small('gpu1')}/else"
    hosts_here.run("gpu1", "dd", "if=/dev/zero", f"of={other}", "bs=1M", "count=40")
    try:
        with pytest.raises(StorageError, match="no space left on device") as caught:
            bring(place)
        assert caught.value.hint == "perdure clean results --on gpu1"
        assert sent(place, hosts_here) == ""
        assert not squashed.is_there(place, IMAGE)
    finally:
        hosts_here.run("gpu1", "rm", other)
    bring(place)
    assert squashed.is_there(place, IMAGE)


@pytest.mark.long
def test_what_arrived_otherwise_is_no_image(place: Place, hosts_here: Hosts) -> None:
    """The file was made again after the transfer broke off, and is another one by now."""
    folder = f"{place.root}/{FOLDER}"
    hosts_here.run("gpu1", "mkdir", "-p", folder)
    draft = f"{folder}/{file_name(IMAGE)}.perdure-part"
    hosts_here.run("gpu1", "dd", "if=/dev/zero", f"of={draft}", "bs=1M", "count=3")
    with pytest.raises(StorageError, match="did not arrive as it was sent"):
        bring(place)
    assert not squashed.is_there(place, IMAGE)
    bring(place)
    assert squashed.is_there(place, IMAGE)
