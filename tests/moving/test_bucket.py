"""Pushed to a bucket and pulled from it: a server for each provider, and a folder, alike."""

from __future__ import annotations

import json
import os
from pathlib import Path

import obstore
import pytest

from perdure.errors import ConflictError, EnvironmentFailed, PerdureError, StorageError, UsageError
from perdure.moving.address import Address
from perdure.moving.bucket_pull import pull_from_bucket
from perdure.moving.bucket_push import push_to_bucket
from perdure.moving.clean import doomed_in_bucket
from perdure.moving.outcome import Moved
from perdure.moving.shelf import open_shelf
from tests.engines import azure
from tests.moving.trees import HOSTILE, Project, content, fill, why


def push(project: Project, bucket: Address, *, dry: bool = False) -> Moved:
    return push_to_bucket(project.errand(str(bucket), pushing=True, dry=dry), bucket)


def pull(project: Project, bucket: Address, *, dry: bool = False) -> Moved:
    return pull_from_bucket(project.errand(str(bucket), pushing=False, dry=dry), bucket)


def other(tmp_path: Path) -> Project:
    found = Project(tmp_path / "another laptop")
    found.root.mkdir()
    return found


def test_all_comes_back_whatever_it_is_called(
    project: Project, bucket: Address, tmp_path: Path
) -> None:
    pushed = push(project, bucket)
    assert (pushed.files, why(pushed.skipped)) == (len(HOSTILE) + 1, {})
    there = other(tmp_path)
    pulled = pull(there, bucket)
    assert content(there.data) == content(project.data)
    assert pulled.sent_bytes == pulled.bytes == pushed.bytes
    plain = there.data / "plain.bin"
    assert plain.stat().st_mtime_ns == (project.data / "plain.bin").stat().st_mtime_ns


def test_what_is_unchanged_is_left(project: Project, bucket: Address, tmp_path: Path) -> None:
    push(project, bucket)
    again = push(project, bucket)
    assert (again.files, again.sent_bytes) == (0, 0)
    assert why(again.skipped) == {"unchanged": len(HOSTILE)}
    there = other(tmp_path)
    pull(there, bucket)
    assert why(pull(there, bucket).skipped) == {"unchanged": len(HOSTILE)}


def test_a_file_with_another_time_but_the_same_contents_is_not_sent(
    project: Project, bucket: Address
) -> None:
    push(project, bucket)
    os.utime(project.data / "plain.bin", (1, 1))
    (project.root / ".perdure").rename(project.root / "lost")
    assert push(project, bucket).sent_bytes == 0


def test_a_dry_run_tells_and_does_nothing(
    project: Project, bucket: Address, tmp_path: Path
) -> None:
    planned = push(project, bucket, dry=True)
    assert planned.files == len(HOSTILE) + 1
    assert "plain.bin" in planned.paths
    assert not (project.root / ".perdure").exists()
    with pytest.raises(UsageError):
        pull(other(tmp_path), bucket)
    push(project, bucket)
    there = Project(tmp_path / "third")
    there.root.mkdir()
    assert pull(there, bucket, dry=True).files == len(HOSTILE) + 1
    assert not there.data.exists()


def test_plain_names_are_the_objects_own(project: Project, bucket: Address) -> None:
    push(project, bucket)
    keys = open_shelf(bucket, "data", make=False).objects()
    assert {"data/plain.bin", "data/with space", "data/deep/er/and/deeper/x"} <= set(keys)


def test_an_edit_here_is_kept_when_a_newer_one_is_pulled(
    project: Project, bucket: Address, tmp_path: Path
) -> None:
    push(project, bucket)
    there = other(tmp_path)
    pull(there, bucket)
    (project.data / "plain.bin").write_bytes(b"theirs")
    push(project, bucket)
    (there.data / "plain.bin").write_bytes(b"mine, unsaved elsewhere")
    pulled = pull(there, bucket)
    assert pulled.kept == ("plain.bin",)
    assert pulled.kept_in is not None
    assert (Path(pulled.kept_in) / "plain.bin").read_bytes() == b"mine, unsaved elsewhere"
    assert (there.data / "plain.bin").read_bytes() == b"theirs"


def test_an_edit_here_stays_where_nothing_new_is_there(
    project: Project, bucket: Address, tmp_path: Path
) -> None:
    push(project, bucket)
    there = other(tmp_path)
    pull(there, bucket)
    (there.data / "plain.bin").write_bytes(b"mine")
    pulled = pull(there, bucket)
    assert pulled.files == 0
    assert why(pulled.skipped)["changed here only"] == 1
    assert (there.data / "plain.bin").read_bytes() == b"mine"


def test_what_somebody_else_pushed_is_kept_in_the_bucket(
    project: Project, bucket: Address, tmp_path: Path
) -> None:
    push(project, bucket)
    there = other(tmp_path)
    pull(there, bucket)
    (there.data / "plain.bin").write_bytes(b"hers")
    push(there, bucket)
    (project.data / "plain.bin").write_bytes(b"mine, later")
    pushed = push(project, bucket)
    assert pushed.kept == ("plain.bin",)
    keys = open_shelf(bucket, "data", make=False).objects()
    kept = [key for key in keys if "/conflicts/" in key]
    assert len(kept) == 1
    store = open_shelf(bucket, "data", make=False).store
    assert bytes(obstore.get(store, kept[0]).bytes()) == b"hers"


def test_a_name_may_change_from_file_to_folder_and_back(
    project: Project, bucket: Address, tmp_path: Path
) -> None:
    push(project, bucket)
    (project.data / "plain.bin").unlink()
    (project.data / "plain.bin").mkdir()
    (project.data / "plain.bin" / "inside").write_bytes(b"in")
    push(project, bucket)
    there = other(tmp_path)
    pull(there, bucket)
    assert content(there.data) == content(project.data)


def test_half_a_push_does_not_count(
    project: Project, bucket: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("perdure.moving.shelf.Shelf.commit", broken)
        with pytest.raises(KeyboardInterrupt):
            push(project, bucket)
    there = other(tmp_path)
    with pytest.raises(ConflictError, match="has not ended"):
        pull(there, bucket)
    pushed = push(project, bucket)
    assert pushed.sent_bytes == 0, "all of it was there already"
    pull(there, bucket)
    assert content(there.data) == content(project.data)


def test_half_a_push_of_new_files_leaves_what_counted(
    project: Project, bucket: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(project, bucket)
    before = content(project.data)
    (project.data / "one more").write_bytes(b"more")

    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("perdure.moving.shelf.Shelf.commit", broken)
        with pytest.raises(KeyboardInterrupt):
            push(project, bucket)
    there = other(tmp_path)
    pull(there, bucket)
    assert content(there.data) == before


def test_half_a_push_over_old_files_counts_no_more_until_it_is_ended(
    project: Project, bucket: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(project, bucket)
    (project.data / "plain.bin").write_bytes(b"new")

    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("perdure.moving.shelf.Shelf.commit", broken)
        with pytest.raises(KeyboardInterrupt):
            push(project, bucket)
    there = other(tmp_path)
    with pytest.raises(ConflictError):
        pull(there, bucket)
    (project.root / ".perdure").rename(project.root / "lost")
    ended = push(project, bucket)
    assert ended.sent_bytes == len(b"new"), "what was not touched is known without our own notes"
    pull(there, bucket)
    assert content(there.data) == content(project.data)
    shelf = open_shelf(bucket, "data", make=False)
    manifests = [key for key in shelf.objects() if "manifest-" in key]
    assert len(manifests) == 1


def test_two_who_push_at_once_do_not_undo_each_other(
    project: Project, served: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = other(tmp_path)
    fill(there.data)
    (there.data / "hers").write_bytes(b"hers")
    from perdure.moving.manifest import Manifest
    from perdure.moving.shelf import Mark, Shelf

    commit = Shelf.commit

    def meanwhile(shelf: Shelf, manifest: Manifest, before: Mark | None, old: str | None) -> None:
        monkeypatch.setattr(Shelf, "commit", commit)
        push(there, served)
        commit(shelf, manifest, before, old)

    monkeypatch.setattr(Shelf, "commit", meanwhile)
    with pytest.raises(ConflictError, match="somebody else"):
        push(project, served)
    push(project, served)
    assert (
        "hers"
        in open_shelf(served, "data", make=False)
        .manifest(open_shelf(served, "data", make=False).committed())
        .files
    )


def test_an_object_that_was_damaged_is_refused(
    project: Project, bucket: Address, tmp_path: Path
) -> None:
    push(project, bucket)
    shelf = open_shelf(bucket, "data", make=False)
    damaged = (project.data / "plain.bin").read_bytes()[::-1]
    obstore.put(shelf.store, "data/plain.bin", damaged)
    there = other(tmp_path)
    with pytest.raises(StorageError, match="is not what its manifest says"):
        pull(there, bucket)
    assert not (there.data / "plain.bin").exists()


def test_an_object_that_is_missing_is_told(
    project: Project, bucket: Address, tmp_path: Path
) -> None:
    push(project, bucket)
    open_shelf(bucket, "data", make=False).delete(["data/plain.bin"])
    there = other(tmp_path)
    pulled = pull(there, bucket)
    assert why(pulled.skipped) == {"missing in the bucket": 1}
    assert (there.data / "with space").is_file()


def test_a_manifest_that_leads_out_of_the_folder_is_refused(
    project: Project, bucket: Address, tmp_path: Path
) -> None:
    push(project, bucket)
    shelf = open_shelf(bucket, "data", make=False)
    mark = shelf.committed()
    manifest = shelf.manifest(mark)
    manifest.files["../outside"] = manifest.files["plain.bin"]
    shelf.commit(manifest, mark, None)
    there = other(tmp_path)
    with pytest.raises(StorageError, match="leads out"):
        pull(there, bucket)
    assert content(there.root) == {}


def test_a_newer_format_is_refused(project: Project, bucket: Address) -> None:
    push(project, bucket)
    shelf = open_shelf(bucket, "data", make=False)
    shelf.write(".perdure/committed.json", json.dumps({"format": 99, "manifest": "x"}).encode())
    with pytest.raises(PerdureError, match="newer perdure"):
        push(project, bucket)


def test_cleaning_deletes_all_that_was_pushed(
    project: Project, bucket: Address, tmp_path: Path
) -> None:
    push(project, bucket)
    doomed = doomed_in_bucket(bucket, "data")
    assert doomed.files > len(HOSTILE)
    doomed.delete()
    assert doomed_in_bucket(bucket, "data").names == ()
    with pytest.raises(UsageError, match="nothing was pushed"):
        pull(other(tmp_path), bucket)


def test_a_bucket_that_is_not_there_is_one_clear_error(project: Project, served: Address) -> None:
    nowhere = Address(served.provider, "no-such-bucket", "x")
    with pytest.raises(UsageError, match="there is no bucket `no-such-bucket`"):
        push(project, nowhere)
    with pytest.raises(UsageError, match="there is no bucket"):
        pull(project, nowhere)
    with pytest.raises(UsageError, match="there is no bucket"):
        doomed_in_bucket(nowhere, "data")


def test_a_folder_that_is_not_there_is_one_clear_error(project: Project, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        pull(project, Address("file", "", str(tmp_path / "nowhere")))


def test_wrong_credentials_are_one_clear_error_without_them(
    project: Project, s3: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    # From the next question on, the server checks who asks.
    monkeypatch.setattr("moto.core.responses.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0)
    with pytest.raises(StorageError, match="permission denied") as refused:
        push(project, s3)
    assert "a-secret" not in str(refused.value) + str(refused.value.hint)
    assert "a-key" not in str(refused.value)
    assert "aws configure" in str(refused.value.hint)


def test_no_credentials_are_one_clear_error(
    project: Project, s3: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    # Where a machine in the cloud would be asked for those of its role.
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("perdure.moving.bucket.RETRIES", 0)
    with pytest.raises(EnvironmentFailed, match="no credentials"):
        push(project, s3)


@pytest.mark.install
def test_a_wrong_key_of_azure_is_one_clear_error_without_it(
    project: Project, az: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = "AAAA" + azure.KEY[4:]
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", wrong)
    with pytest.raises(StorageError, match="permission denied") as refused:
        push(project, az)
    assert "az login" in str(refused.value.hint)
    assert wrong not in str(refused.value) + str(refused.value.hint)


@pytest.mark.parametrize(
    ("provider", "variable", "value"),
    [
        ("gs", "GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json"),
        ("gs", "GOOGLE_APPLICATION_CREDENTIALS", "/dev/null"),
        ("az", "AZURE_STORAGE_ACCOUNT_KEY", "no base64!"),
    ],
)
def test_credentials_that_are_none_are_one_clear_error_without_them(
    project: Project, monkeypatch: pytest.MonkeyPatch, provider: str, variable: str, value: str
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "lab")
    monkeypatch.setenv(variable, value)
    with pytest.raises(EnvironmentFailed, match="cannot be used") as refused:
        push(project, Address(provider, "lab", "x"))
    assert value not in str(refused.value)
    assert refused.value.hint


def test_keys_come_from_the_files_of_aws_too(
    project: Project, s3: Address, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(
        "[lab]\naws_access_key_id = a-key\naws_secret_access_key = a-%secret\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "lab")
    assert push(project, s3).files == len(HOSTILE) + 1


def test_a_server_that_does_not_answer_is_one_clear_error(
    project: Project, served: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL", "STORAGE_EMULATOR_HOST", "AZURE_STORAGE_ENDPOINT"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setattr("perdure.moving.bucket.RETRIES", 0)
    with pytest.raises(EnvironmentFailed, match="does not answer"):
        push(project, served)
