"""Packages installed by hand, read from an engine's list of changed files."""

from __future__ import annotations

import pytest

from perdure.development.leftovers import MOST_NAMED, Leftovers, leftovers_in

SITE = "/opt/dev/lib/python3.11/site-packages"
CHANGES = f"""\
C /opt
C {SITE}
A {SITE}/six.py
A {SITE}/six-1.17.0.dist-info
A {SITE}/six-1.17.0.dist-info/METADATA
A {SITE}/huggingface_hub-0.30.1.dist-info
A {SITE}/old-1.0-py3.11.egg-info
D {SITE}/numpy-2.0.0.dist-info
A /opt/venv/lib/python3.12/site-packages/torch-2.13.0+cpu.dist-info
A /var/lib/dpkg/info/cowsay.list
A /var/lib/dpkg/info/libgl1:amd64.list
A /var/lib/dpkg/info/cowsay.md5sums
C /var/lib/dpkg/info/bash.list
A /opt/conda-env/conda-meta/zlib-ng-1.3.1-h4ab18f5_1.json
A /home/perdure/cowsay.list
"""


def test_what_was_added_is_named_and_nothing_else() -> None:
    found = leftovers_in(CHANGES)
    assert found.python == (
        "huggingface-hub 0.30.1",
        "old 1.0",
        "six 1.17.0",
        "torch 2.13.0+cpu",
    )
    assert found.debian == ("cowsay", "libgl1")
    assert found.conda == ("zlib-ng 1.3.1",)
    assert found.told().startswith("pip: huggingface-hub 0.30.1, old 1.0")
    assert "apt: cowsay, libgl1; conda: zlib-ng 1.3.1" in found.told()


def test_what_is_declared_by_now_is_not_lost() -> None:
    found = leftovers_in(CHANGES)
    frozen = {"pip six": "1.17.0", "pip Huggingface_Hub": "1", "apt cowsay": "3", "python": "3.11"}
    left = found.beside({**frozen, "conda zlib-ng": "1.3.1 h4ab18f5_1"})
    assert left == Leftovers(("old 1.0", "torch 2.13.0+cpu"), ("libgl1",), ())
    assert found.beside({}) == found
    assert not Leftovers(("six 1.17.0",)).beside(frozen)


def test_the_project_itself_is_nobodys_by_hand() -> None:
    line = f"A {SITE}/my_cats-4.2.dist-info\n"
    assert leftovers_in(line).python == ("my-cats 4.2",)
    assert not leftovers_in(line, "My.Cats")


@pytest.mark.parametrize("text", ["", "C /opt\nA /opt/x\n", "\x00\n\nA\n"])
def test_nothing_by_hand(text: str) -> None:
    assert not leftovers_in(text)


def test_many_are_cut_short() -> None:
    told = Leftovers(debian=tuple(f"p{number:02}" for number in range(40))).told()
    assert told.endswith(f"and {40 - MOST_NAMED} more")
