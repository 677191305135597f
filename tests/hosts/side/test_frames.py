from __future__ import annotations

import io

import pytest

from perdure.hosts.side.frames import (
    LARGEST_PIECE,
    LENGTHS_BYTES,
    PIECE,
    Assembly,
    in_pieces,
    pack,
    read_frame,
    unpack,
)


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, None, True, "x"], "b": {}},
        {"first": b"\x00\xff", "rest": [b"", b"abc", {"deep": b"d" * 70_000}]},
        "a name \udcff that is no UTF-8\n",
        {"$bytes": "a key that is called so", "beside": 1},
        [],
    ],
)
def test_a_value_comes_out_as_it_went_in(value: object) -> None:
    found = read_frame(io.BytesIO(pack(value) + b"more"))
    assert found is not None
    assert unpack(*found) == value


def test_frames_follow_each_other_until_the_end() -> None:
    stream = io.BytesIO(pack(1) + pack({"b": b"2"}))
    frames = [read_frame(stream), read_frame(stream), read_frame(stream)]
    assert [None if each is None else unpack(*each) for each in frames] == [1, {"b": b"2"}, None]


def test_what_is_no_value_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot send a set"):
        pack({"a": {1, 2}})


@pytest.mark.parametrize("cut", [1, 7, 9])
def test_a_torn_frame_is_no_frame(cut: int) -> None:
    with pytest.raises(EOFError):
        read_frame(io.BytesIO(pack({"some": b"thing"})[:cut]))


def test_a_greeting_of_the_login_shell_is_no_frame() -> None:
    with pytest.raises(ValueError, match="no frame begins with"):
        read_frame(io.BytesIO(b"Welcome to gpubox, today's message is long enough"))
    assert LENGTHS_BYTES == 8


def test_pieces_add_up_to_the_frame_they_were() -> None:
    value = {"number": 3, "value": [b"x" * (3 * PIECE + 5), "y" * PIECE]}
    pieces = list(in_pieces(pack(value), 3))
    assert len(pieces) == 5
    assert all(len(each) < LARGEST_PIECE + LENGTHS_BYTES for each in pieces)
    whole = Assembly()
    found = [whole.add(value_of(each)) for each in pieces]
    assert found == [None, None, None, None, value]
    assert list(in_pieces(b"small", 1)) == [b"small"]


def value_of(frame: bytes) -> object:
    found = read_frame(io.BytesIO(frame))
    assert found is not None
    return unpack(*found)


@pytest.mark.parametrize(
    "value",
    [
        7,
        [],
        {"piece": "text", "left": 0},
        {"piece": b"x", "left": -1},
        {"piece": b"x", "left": 2000},
        {"piece": b"x", "left": True},
        {"piece": b"x" * 1001, "left": 0},
    ],
)
def test_what_is_no_piece_is_refused(value: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json has words of its own
        Assembly(1000).add(value)


@pytest.mark.parametrize(
    ("header", "blob"),
    [
        (b'{"$bytes": 3}', b"ab"),
        (b'{"$bytes": -1}', b"ab"),
        (b'[{"$bytes": 2}, {"$bytes": 1}]', b"ab"),
        (b"[" * 100_000, b""),
        (b"\xff", b""),
        (b"", b""),
    ],
)
def test_a_frame_that_lies_is_refused(header: bytes, blob: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json has words of its own
        unpack(header, blob)


def test_a_frame_larger_than_agreed_is_not_read() -> None:
    frame = pack({"a": b"x" * 2000})
    with pytest.raises(ValueError, match="no frame begins"):
        read_frame(io.BytesIO(frame), 1000)
