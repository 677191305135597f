"""`perdure eject` as a user sees it; what it writes is tested in tests/images."""

from __future__ import annotations

from perdure.cli.commands.eject import FEW, moved
from perdure.images.eject_sources import Source


def test_packages_of_a_folder_here_are_told_a_line_for_each_index() -> None:
    many = tuple(Source(f"p{number}", None) for number in range(FEW + 2))
    first, second = moved((*many, Source("torch", "https://example.org/cpu")))
    assert first.startswith("p0, p1, ")
    assert first.endswith(
        " and 2 more lie in a folder here; the files take them from the default index"
    )
    assert second == "torch lies in a folder here; the files take it from `https://example.org/cpu`"
    assert moved(()) == []
