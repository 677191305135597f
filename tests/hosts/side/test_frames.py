from __future__ import annotations

import io

import pytest

from perdure.hosts.side.frames import LENGTHS, pack, read_frame, unpack


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
    assert LENGTHS.size == 8
