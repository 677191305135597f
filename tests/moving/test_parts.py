"""The small pieces: names, lists, records, shares, addresses, keys and rsync's own quoting."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import StorageError, UsageError
from perdure.hosts.progress import MIB, Progress
from perdure.moving import far, rsync
from perdure.moving.address import Address, parse_address
from perdure.moving.aws_profile import read_profile
from perdure.moving.entry import Entry, Kind
from perdure.moving.journal import Journal
from perdure.moving.known import Seen, read_known, write_known
from perdure.moving.manifest import Manifest, Stored, decode, encode, key_of
from perdure.moving.selection import CHECKPOINTS_WHY, skip_results
from perdure.moving.streams import MOST, share_out

NAMES = st.text(st.characters(blacklist_characters="\0/", blacklist_categories=()), min_size=1)


@given(st.dictionaries(NAMES, st.tuples(st.integers(0, 2**40), st.integers(0, 2**62))))
def test_what_both_sides_had_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, stamps: dict[str, tuple[int, int]]
) -> None:
    usable = {name: each for name, each in stamps.items() if is_name(name)}
    known = {name: Seen(each, (each[0], each[1] + 1)) for name, each in usable.items()}
    file = tmp_path_factory.mktemp("known") / "x.known"
    write_known(file, known)
    assert read_known(file) == known


def is_name(text: str) -> bool:
    """Return whether a file can be called so."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape") == text
    except UnicodeEncodeError:
        return False


def test_a_record_of_another_kind_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"perdure moving 99\0junk")
    assert read_known(tmp_path / "x") == {}
    assert read_known(tmp_path / "missing") == {}


def test_a_torn_line_of_a_journal_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "j"
    file.write_bytes(b'["a", 1]\n["b", ')
    with Journal(file) as journal:
        journal.add("c", None)
        assert list(journal.lines()) == [["a", 1], ["c", None]]


@given(st.lists(st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]))))
def test_rsync_takes_words_apart_as_they_were(words: list[str]) -> None:
    # Its own algorithm (main.c, do_cmd): at blanks, with quotes doubled inside quotes.
    text = " ".join(rsync.quoted(word) for word in words)
    found, index = [], 0
    while index < len(text):
        if text[index] == " ":
            index += 1
            continue
        word, quote = "", ""
        while index < len(text) and (quote or text[index] != " "):
            letter = text[index]
            if letter in "'\"" and not quote:
                quote = letter
            elif letter == quote and text[index + 1 : index + 2] != quote:
                quote = ""
            elif letter == quote:
                word, index = word + letter, index + 1
            else:
                word += letter
            index += 1
        found.append(word)
    assert found == words


def test_rsync_itself_takes_them_apart_as_they_were(tmp_path: Path) -> None:
    words = ["it's", '"', "", "a  b", "new\nline", "$(x)", "\\", "''", "tab\there"]
    show = "import sys; open(sys.argv[1], 'w').write(repr(sys.argv[2:-4]))"
    said = tmp_path / "said"
    shell = [sys.executable, "-c", show, str(said), *words]
    quoted = " ".join(rsync.quoted(word) for word in shell)
    argv = ["rsync", "-s", "-e", quoted, str(tmp_path / "x"), "there:y"]
    subprocess.run(argv, capture_output=True, timeout=120)
    assert said.read_text() == repr(words)


def test_what_find_printed_is_read() -> None:
    said = b"f 12 1700000000.1234567890 644 \0a\nb\0d 4096 1.0 755 \0dir\0l 3 1.0 777 to\nx\0l\0"
    assert far.parse(said + b"p 0 1.0 644 \0pipe\0") == {
        "a\nb": Entry(Kind.FILE, 12, 1_700_000_000_123_456_789, 0o644),
        "dir": Entry(Kind.FOLDER, mode=0o755),
        "l": Entry(Kind.LINK, target="to\nx"),
    }


def test_large_files_are_shared_out_evenly() -> None:
    files = {f"{n}": Entry(Kind.FILE, (n + 1) << 20) for n in range(40)}
    shares = share_out(files)
    assert len(shares) == MOST
    assert sorted(path for share in shares for path in share) == sorted(files)
    loads = [sum(files[path].size for path in share) for share in shares]
    assert max(loads) - min(loads) <= 2 << 20


def test_a_few_small_files_take_one_stream() -> None:
    assert len(share_out({f"{n}": Entry(Kind.FILE, 9) for n in range(9)})) == 1


def test_progress_is_told_only_after_two_seconds() -> None:
    told: list[tuple[str, int | None, int | None]] = []

    def report(message: str, *, done: int | None = None, total: int | None = None) -> None:
        told.append((message, done, total))

    clock = iter([0.0, 1.0, 3.0, 4.0])
    progress = Progress(report, "pushing", 10 * MIB, lambda: next(clock))
    progress.at(1, 2 * MIB)
    assert told == []
    progress.at(2, 3 * MIB)
    progress.add(MIB)
    assert told == [("pushing (MiB)", 5, 10), ("pushing (MiB)", 6, 10)]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("s3://lab/cats/", Address("s3", "lab", "cats")),
        ("S3://lab", Address("s3", "lab", "")),
        ("gs://lab/a b/c", Address("gs", "lab", "a b/c")),
        ("abfss://box/x", Address("az", "box", "x")),
        ("file:///a/b", Address("file", "", "/a/b")),
    ],
)
def test_an_address_is_read(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["s3://lab/../x", "http://x/y", "file:///", "s3:///x"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_address(text)


@pytest.mark.parametrize(
    "path", ["a\nb", "a#1", "a%20b", "x\udcff", ".perdure/committed.json", "*"]
)
def test_a_name_that_no_bucket_could_keep_gets_another(path: str) -> None:
    key = key_of("data", path)
    assert key.startswith("data/.perdure/odd/")
    assert key != key_of("data", path + "x")


def test_a_plain_name_is_its_own() -> None:
    assert key_of("data", "train set/ünï (1).csv") == "data/train set/ünï (1).csv"


def test_a_manifest_is_read_as_it_was_written() -> None:
    files = {"a\udcff\n": Stored(1, 2, 0o600, "digest")}
    manifest = Manifest(files, {"link": "a"}, ["folder"])
    assert decode(encode(manifest), "here") == manifest
    assert encode(manifest) == encode(manifest)
    with pytest.raises(StorageError):
        decode(b"junk", "here")


def test_the_users_profile_is_read(tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text(
        "[profile lab]\nregion = eu-x\nendpoint_url = https://s3.lab\n"
        "[profile sso]\nsso_session=x\n"
    )
    (tmp_path / ".aws" / "credentials").write_text("[lab]\naws_access_key_id=k\n")
    assert read_profile({"AWS_PROFILE": "lab"}, tmp_path) == {
        "access_key_id": "k",
        "region": "eu-x",
        "endpoint": "https://s3.lab",
    }
    from_variables = {"AWS_PROFILE": "lab", "AWS_ACCESS_KEY_ID": "v", "AWS_REGION": "us-y"}
    assert read_profile(from_variables, tmp_path) == {"endpoint": "https://s3.lab"}
    with pytest.raises(UsageError, match="no keys of its own"):
        read_profile({"AWS_PROFILE": "sso"}, tmp_path)
    assert read_profile({}, tmp_path / "nowhere") == {}


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("README.md", None),
        ("brave/logs/1.log", None),
        ("brave/checkpoints/g1/meta.json", CHECKPOINTS_WHY),
        ("brave/outputs/checkpoints/mine", None),
        ("brave/supervisor.lock", ""),
        ("brave/PREEMPT", ""),
        ("brave/.job.json-12", ""),
        (".trash-1/job.json", ""),
    ],
)
def test_what_of_run_folders_is_moved(path: str, why: str | None) -> None:
    assert skip_results(checkpoints=False)(path) == why


def test_half_written_checkpoints_are_never_moved() -> None:
    skip = skip_results(checkpoints=True, jobs=frozenset({"brave"}))
    assert skip("brave/checkpoints/tmp-1/state.safetensors") == ""
    assert skip("brave/checkpoints/g1/state.safetensors") is None
    assert skip("calm/job.json") == ""
