"""One machine at a time, whatever the other one believes."""

from __future__ import annotations

import pytest

from perdure.clouds.side.bucket import Bucket
from perdure.clouds.side.lease import Fenced, Lease, read


class Never(Exception):
    """Whoever would wait, waits for ever."""


def never(seconds: float) -> None:
    raise Never


def lease(bucket: Bucket, holder: str, *, ttl_s: float = 60.0) -> Lease:
    return Lease(bucket, "otter", holder, ttl_s, pause=never)


def test_the_second_one_waits_until_the_first_lets_go(bucket: Bucket) -> None:
    first, second = lease(bucket, "i-1"), lease(bucket, "i-2")
    assert first.take("").turn == 1
    first.beat()
    with pytest.raises(Never):
        second.take("")
    first.release()
    assert second.take("").turn == 2


def test_who_is_silent_for_long_loses_it_and_is_fenced(bucket: Bucket) -> None:
    # Of this one any age at all is too old.
    first = lease(bucket, "i-1", ttl_s=-1.0)
    first.take("")
    lease(bucket, "i-2").take("")
    with pytest.raises(Fenced, match="another machine"):
        first.beat()
    with pytest.raises(Fenced):
        first.release()


def test_a_machine_that_restarts_gets_its_own_back(bucket: Bucket) -> None:
    lease(bucket, "i-1").take("")
    assert lease(bucket, "i-1").take("").turn == 2


def test_turns_from_the_same_checkpoint_are_counted(bucket: Bucket) -> None:
    found = []
    for holder, newest in (("a", ""), ("b", ""), ("c", ""), ("d", "g3-s1"), ("e", "g3-s1")):
        each = lease(bucket, holder)
        found.append(each.take(newest).idle)
        each.release()
    assert found == [0, 1, 2, 0, 1]


def test_a_new_submission_begins_to_count_anew(bucket: Bucket) -> None:
    """Whoever mended what had kept the machines from it has as many again."""
    found: list[int] = []
    for submission in (1, 1, 2, 2):
        each = lease(bucket, f"i-{len(found)}")
        found.append(each.take("", submission).idle)
        each.release()
    assert found == [0, 1, 0, 1]


def test_a_lease_without_a_submission_is_read_all_the_same() -> None:
    older = b'{"holder": "i-1", "turn": 3, "beat": 7, "released": false, "newest": "g3-s1", '
    found = read(older + b'"idle": 2, "ttl_s": 20.0}')
    assert (found.holder, found.idle, found.submission) == ("i-1", 2, 0)


def test_a_bucket_that_is_silent_for_long_ends_the_holder_by_itself(bucket: Bucket) -> None:
    now = [100.0]
    holder = Lease(bucket, "otter", "i-1", 20.0, clock=lambda: now[0], pause=never)
    holder.take("")
    gone = Bucket(object(), None)  # type: ignore[arg-type]
    holder.bucket = gone
    now[0] += 11
    holder.beat()
    now[0] += 2
    with pytest.raises(Fenced, match="does not answer"):
        holder.beat()


def test_what_is_no_lease_is_nobodys() -> None:
    assert read(b"{").released
    assert read(b"[]").released
    assert read(b'{"holder": "i-1"}').released
