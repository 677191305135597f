"""Pushed to a real host and pulled from it, over a real ssh: what is whole, kept, followed."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from perdure.moving.far import Far
from tests.engines.hosts import Hosts
from tests.moving.trees import HOSTILE, Project, content, other, pull, push, why


def test_all_arrives_and_comes_back_whatever_it_is_called(
    project: Project, far: Far, folder: Path, tmp_path: Path, way: str
) -> None:
    pushed = push(project, far)
    assert (pushed.files, pushed.skipped, pushed.kept) == (len(HOSTILE) + 1, (), ())
    assert content(folder / "data") == content(project.data)
    plain = project.data / "plain.bin"
    assert (folder / "data" / "plain.bin").stat().st_mtime_ns == plain.stat().st_mtime_ns
    there = other(tmp_path)
    pulled = pull(there, far)
    assert pulled.files == len(HOSTILE) + 1
    assert content(there.data) == content(project.data)
    assert (there.data / "plain.bin").stat().st_mtime_ns == plain.stat().st_mtime_ns
    assert why(push(project, far).skipped) == {"unchanged": len(HOSTILE)}
    assert why(pull(there, far).skipped) == {"unchanged": len(HOSTILE)}


def test_nothing_of_ours_is_left_but_notes(
    project: Project, far: Far, folder: Path, way: str, tmp_path: Path
) -> None:
    push(project, far)
    pull(other(tmp_path), far)
    left = {path.name for path in (folder / ".perdure" / "moving").iterdir()}
    assert left == set()
    here = {path.suffix for path in (project.root / ".perdure" / "moving").iterdir()}
    assert here <= {".known", ".lock"}


def test_a_dry_run_tells_and_does_nothing(
    project: Project, far: Far, folder: Path, tmp_path: Path
) -> None:
    planned = push(project, far, dry=True)
    assert planned.files == len(HOSTILE) + 1
    assert planned.bytes == sum(
        p.stat().st_size for p in project.data.rglob("*") if p.is_file() and not p.is_symlink()
    )
    assert not folder.exists()
    assert not (project.root / ".perdure").exists()
    push(project, far)
    there = other(tmp_path)
    assert pull(there, far, dry=True).files == len(HOSTILE) + 1
    assert content(there.root) == {}


def test_what_was_edited_there_is_kept_there(project: Project, far: Far, folder: Path) -> None:
    push(project, far)
    (folder / "data" / "plain.bin").write_bytes(b"edited there")
    only_there = push(project, far)
    assert only_there.files == 0
    assert why(only_there.skipped)["changed there only"] == 1
    (project.data / "plain.bin").write_bytes(b"edited here too")
    both = push(project, far)
    assert both.kept == ("plain.bin",)
    assert both.kept_in == f"{folder}/.perdure/conflicts/20231114T221320Z/data"
    assert (Path(both.kept_in) / "plain.bin").read_bytes() == b"edited there"
    assert (folder / "data" / "plain.bin").read_bytes() == b"edited here too"


def test_what_was_edited_here_is_kept_here(project: Project, far: Far, folder: Path) -> None:
    push(project, far)
    (project.data / "plain.bin").write_bytes(b"edited here")
    assert why(pull(project, far).skipped)["changed here only"] == 1
    (folder / "data" / "plain.bin").write_bytes(b"edited there too")
    pulled = pull(project, far)
    assert pulled.kept == ("plain.bin",)
    assert pulled.kept_in is not None
    assert (Path(pulled.kept_in) / "plain.bin").read_bytes() == b"edited here"
    assert (project.data / "plain.bin").read_bytes() == b"edited there too"


def test_a_newer_version_replaces_an_older_one_silently(
    project: Project, far: Far, folder: Path
) -> None:
    push(project, far)
    (project.data / "plain.bin").write_bytes(b"a newer version")
    assert push(project, far).kept == ()
    (folder / "data" / "plain.bin").write_bytes(b"a newer one still")
    assert pull(project, far).kept == ()
    assert (project.data / "plain.bin").read_bytes() == b"a newer one still"


def test_a_second_save_of_the_same_size_in_the_same_second_is_sent(
    project: Project, far: Far, folder: Path
) -> None:
    plain = project.data / "plain.bin"
    plain.write_bytes(b"one")
    os.utime(plain, ns=(0, 1_700_000_000_000_000_001))
    push(project, far)
    plain.write_bytes(b"two")
    os.utime(plain, ns=(0, 1_700_000_000_000_000_002))
    push(project, far)
    assert (folder / "data" / "plain.bin").read_bytes() == b"two"


def test_equal_contents_are_not_sent_nor_kept(project: Project, far: Far, folder: Path) -> None:
    (folder / "data").mkdir(parents=True)
    shutil.copy(project.data / "plain.bin", folder / "data" / "plain.bin")
    pushed = push(project, far)
    assert why(pushed.skipped) == {"unchanged": 1}
    assert pushed.kept == ()


def test_a_file_may_become_a_folder_and_back(project: Project, far: Far, folder: Path) -> None:
    push(project, far)
    (project.data / "plain.bin").unlink()
    (project.data / "plain.bin").mkdir()
    (project.data / "plain.bin" / "inside").write_bytes(b"in")
    shutil.rmtree(project.data / "deep")
    (project.data / "deep").write_bytes(b"now a file")
    pushed = push(project, far)
    assert content(folder / "data") == content(project.data)
    assert set(pushed.kept) == {"plain.bin", "deep"}
    assert pushed.kept_in is not None
    assert (Path(pushed.kept_in) / "deep" / "er" / "and" / "deeper" / "x").is_file()


def test_the_contents_of_a_data_folder_that_is_a_link_are_pushed(
    project: Project, far: Far, folder: Path, tmp_path: Path, way: str
) -> None:
    project.data.rename(tmp_path / "mounted data set")
    project.data.symlink_to(tmp_path / "mounted data set")
    pushed = push(project, far)
    assert content(folder / "data") == content(tmp_path / "mounted data set")
    assert not (folder / "data").is_symlink()
    assert pushed.notes == (
        f"`data` is a link: what is in `{tmp_path / 'mounted data set'}` is meant",
    )


def test_a_data_set_behind_a_link_in_data_is_pushed_too(
    project: Project, far: Far, folder: Path, tmp_path: Path, way: str
) -> None:
    images = tmp_path / "data sets" / "imagenet"
    images.mkdir(parents=True)
    (images / "1.jpg").write_bytes(b"jpg")
    (images / "round").symlink_to(images)
    (project.data / "imagenet").symlink_to(images)
    (project.data / "nowhere").symlink_to(tmp_path / "missing")
    os.mkfifo(project.data / "pipe")
    pushed = push(project, far)
    assert (folder / "data" / "imagenet" / "1.jpg").read_bytes() == b"jpg"
    assert f"`imagenet` is a link: what is in `{images}` is meant" in pushed.notes
    assert why(pushed.skipped) == {
        "a link that leads back to where it lies": 1,
        "a link to nothing": 1,
        "neither a file, a folder nor a link": 1,
    }
    pulled = pull(project, far)
    assert pulled.files == 0
    assert why(pulled.skipped)["behind a link here"] == 1
    assert content(images) == {"1.jpg": b"jpg", "round": str(images)}


def test_a_link_there_is_not_written_through(project: Project, far: Far, folder: Path) -> None:
    (folder / "data").mkdir(parents=True)
    everybodys = folder / "everybody's"
    everybodys.mkdir()
    (folder / "data" / "deep").symlink_to(everybodys)
    pushed = push(project, far)
    assert why(pushed.skipped) == {"behind a link there": 1}
    assert content(everybodys) == {}


def test_a_link_there_that_leads_out_is_not_brought_here(
    project: Project, far: Far, folder: Path
) -> None:
    push(project, far)
    (folder / "data" / "passwd").symlink_to("/etc/passwd")
    assert why(pull(project, far).skipped)["a link that leads out of the folder"] == 1
    assert not (project.data / "passwd").is_symlink()


def test_a_folder_on_another_disk_is_filled_from_a_staging_folder_of_its_own(
    project: Project, hosts_here: Hosts, far: Far, folder: Path
) -> None:
    small = hosts_here.small("gpu1")
    (project.data / "empty").rmdir()
    hosts_here.run("gpu1", "mkdir", "-p", str(folder), f"{small}/data set")
    hosts_here.run("gpu1", "ln", "-s", f"{small}/data set", str(folder / "data"))
    try:
        pushed = push(project, far)
        listed = hosts_here.run("gpu1", "ls", "-A", f"{small}/data set").out
        assert ".perdure-moving" not in listed
        assert "plain.bin" in listed
        assert any("is a link on gpu1" in note for note in pushed.notes)
        assert why(push(project, far).skipped) == {"unchanged": len(HOSTILE)}
    finally:
        hosts_here.run("gpu1", "rm", "-rf", f"{small}/data set")


def test_the_selection_of_an_errand_can_be_replaced(project: Project) -> None:
    errand = project.errand("gpu1", pushing=True)
    assert replace(errand, where="gpu2").known != errand.known
