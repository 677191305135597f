"""Objects of a bucket that are created once, or swapped if nobody else was quicker."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from perdure.clouds.side.bucket import Bucket, Taken


def test_what_is_there_is_not_created_again(bucket: Bucket) -> None:
    assert bucket.get("a/b c.json") is None
    tag = bucket.create("a/b c.json", b"one")
    found = bucket.get("a/b c.json")
    assert found is not None
    assert (found.data, found.version) == (b"one", tag)
    with pytest.raises(Taken):
        bucket.create("a/b c.json", b"two")
    # The answer to the first may have been lost, and the same was put again.
    assert bucket.create("a/b c.json", b"one") == tag


def test_only_what_is_unchanged_is_swapped(bucket: Bucket) -> None:
    first = bucket.swap("it", b"1", None)
    second = bucket.swap("it", b"22", first)
    with pytest.raises(Taken):
        bucket.swap("it", b"333", first)
    with pytest.raises(Taken):
        bucket.swap("it", b"333", None)
    assert bucket.swap("it", b"4444", second) != second
    with pytest.raises(Taken):
        bucket.swap("gone", b"1", second)


def test_of_many_who_swap_at_once_one_wins(bucket: Bucket) -> None:
    tag = bucket.create("it", b"0")

    def attempt(number: int) -> bool:
        try:
            bucket.swap("it", f"number {number}".encode(), tag)
        except Taken:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1


def test_names_come_in_order_and_from_one_on(bucket: Bucket) -> None:
    for name in ("log/0000000003", "log/0000000001", "log/0000000002", "logs", "packs/1"):
        bucket.put(name, name.encode())
    assert list(bucket.names("log")) == [f"log/000000000{n}" for n in (1, 2, 3)]
    assert list(bucket.names("log", "log/0000000002")) == ["log/0000000003"]
    bucket.delete(["log/0000000002", "log/never"])
    assert list(bucket.names("log")) == ["log/0000000001", "log/0000000003"]


def test_the_buckets_own_time_leaves_nothing(bucket: Bucket) -> None:
    before = bucket.now("scratch")
    assert bucket.now("scratch") >= before
    assert bucket.names("scratch") == {}
