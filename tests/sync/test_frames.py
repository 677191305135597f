from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.sync.far.frames import LENGTHS, MAGIC, NOISE_BYTES, Assembler, Garbled, pack

HEADERS = st.dictionaries(st.text(), st.none() | st.integers() | st.text())


@given(st.lists(st.tuples(HEADERS, st.binary())), st.integers(1, 50))
def test_frames_come_out_as_they_went_in_however_they_are_cut(
    frames: list[tuple[dict[str, object], bytes]], step: int
) -> None:
    data = MAGIC + b"".join(pack(header, blob) for header, blob in frames)
    assembler = Assembler(awaits_magic=True)
    found = []
    for at in range(0, len(data), step):
        found += assembler.feed(data[at : at + step])
    assert found == frames


@given(st.lists(st.tuples(HEADERS, st.binary())), st.integers(1, 50))
def test_contents_may_be_put_where_they_stay(
    frames: list[tuple[dict[str, object], bytes]], step: int
) -> None:
    data = b"".join(pack(header, blob) for header, blob in frames)
    assembler = Assembler(awaits_magic=False)
    found = []
    for at in range(0, len(data), step):
        piece, room = data[at : at + step], assembler.room
        within = min(len(room), len(piece))
        room[:within] = piece[:within]
        found += assembler.filled(within) if within else []
        found += assembler.feed(piece[within:])
    assert found == frames


def test_a_name_that_is_no_text_survives() -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert Assembler(awaits_magic=False).feed(pack({"path": name})) == [({"path": name}, b"")]


def test_what_a_login_script_prints_is_passed_over() -> None:
    assembler = Assembler(awaits_magic=True)
    assert assembler.feed(b"Welcome to gpubox!\n") == []
    assert assembler.noise == b"Welcome to gpubox!\n"
    assert assembler.feed(MAGIC + pack({"op": "hello"})) == [({"op": "hello"}, b"")]


@pytest.mark.parametrize(
    "data",
    [
        b"x" * (NOISE_BYTES + 1),
        MAGIC + LENGTHS.pack(1 << 31, 0),
        MAGIC + LENGTHS.pack(2, 0) + b"[]",
        MAGIC + LENGTHS.pack(2, 0) + b"{!",
    ],
    ids=["no magic", "too long", "no object", "no json"],
)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(Garbled):
        Assembler(awaits_magic=True).feed(data)
