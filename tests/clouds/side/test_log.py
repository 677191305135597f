"""A run folder that comes back from its pieces, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.clouds.side import keys, log
from perdure.clouds.side.bucket import Bucket
from perdure.clouds.side.lease import Fenced


def write(run_dir: Path, name: str, text: str) -> None:
    path = run_dir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(text)


def files(run_dir: Path) -> dict[str, bytes]:
    return {
        path.relative_to(run_dir).as_posix(): path.read_bytes()
        for path in sorted(run_dir.rglob("*"))
        if path.is_file()
    }


def test_what_grew_is_there_on_the_next_machine(bucket: Bucket, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    writer = log.begin(bucket, "otter", first)
    write(first, "gen-000001", "{}")
    write(first, "logs/000001.log", "ein Fuß\n")
    assert writer.flush() > 0
    assert writer.flush() == 0
    write(first, "logs/000001.log", "more\n")
    write(first, "attempts/000001.jsonl", "{}\n")
    write(first, "metrics/000001.jsonl", "")
    writer.flush()
    write(first, "checkpoints/g000001-s0000000010/meta.json", "{}")
    writer.flush()
    again = log.begin(bucket, "otter", second)
    expected = files(first)
    del expected["checkpoints/g000001-s0000000010/meta.json"]
    assert files(second) == expected
    # What is known to be there is not sent again.
    assert again.flush() == 0
    write(second, "logs/000001.log", "and more\n")
    assert again.flush() == len("and more\n")


def test_two_who_write_meet_at_a_piece(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = (
        log.begin(bucket, "otter", tmp_path / "a"),
        log.begin(bucket, "otter", tmp_path / "b"),
    )
    write(tmp_path / "a", "logs/000001.log", "one\n")
    write(tmp_path / "b", "logs/000001.log", "other\n")
    one.flush()
    with pytest.raises(Fenced):
        other.flush()


def test_many_pieces_become_one_and_a_reader_goes_on(bucket: Bucket, tmp_path: Path) -> None:
    first, reader = tmp_path / "first", tmp_path / "reader"
    first.mkdir()
    writer = log.begin(bucket, "otter", first)
    for number in range(log.PACK_FROM + 6):
        write(first, "logs/000001.log", f"line {number}\n")
        writer.flush()
    known = list(log.pieces(bucket, "otter", 0))
    seen = known[-1][0]
    for _, grown in known:
        log.write_all(reader, grown)
    second = tmp_path / "second"
    second.mkdir()
    again = log.begin(bucket, "otter", second)
    assert files(second) == files(first)
    assert bucket.names(keys.job("otter", keys.LOG)) == {}
    write(second, "logs/000001.log", "the last\n")
    again.flush()
    for late in (seen, 3):
        for _, grown in log.pieces(bucket, "otter", late):
            log.write_all(reader, grown)
        assert files(reader) == files(second)


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", ""])
def test_a_piece_that_leads_out_is_none(name: str) -> None:
    with pytest.raises(ValueError, match="not a piece"):
        log.decode(log.encode([log.Grown(name, 0, b"x")]))
