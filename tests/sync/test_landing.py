"""A file that is put in its place while somebody writes there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from perdure.sync.far.landing import Changed, Ground
from perdure.sync.far.renaming import swap
from perdure.sync.far.tree import FILE, Entry, digest_of, look


def test_what_is_saved_at_that_moment_stays_and_nothing_is_left_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = tmp_path / "m.ipynb"
    book.write_bytes(b"old")

    def save_and_swap(one: str, other: str, folder: int) -> None:
        if book.read_bytes() == b"old":
            (tmp_path / "saved").write_bytes(b"mine")
            (tmp_path / "saved").replace(book)
        swap(one, other, folder)

    monkeypatch.setattr("perdure.sync.far.landing.swap", save_and_swap)
    known = look(str(book))
    assert known is not None
    ground = Ground(str(tmp_path), "live1", {"m.ipynb": known}, yields=False)
    draft = ground.begin("m.ipynb")
    os.write(draft.fd, b"theirs")
    with pytest.raises(Changed):
        ground.land(draft, 1, Entry(FILE, digest_of(b"theirs"), 0o644), [digest_of(b"old")])
    ground.close()
    assert book.read_bytes() == b"mine"
    assert [*tmp_path.iterdir()] == [book]
