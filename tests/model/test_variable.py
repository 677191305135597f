from __future__ import annotations

import pytest

from perdure.model.variable import is_variable


@pytest.mark.parametrize("name", ["A", "_", "HF_TOKEN", "a1"])
def test_what_a_variable_can_be_called(name: str) -> None:
    assert is_variable(name)


@pytest.mark.parametrize("name", ["", "1A", "A B", "A-B", "A\n", "\u00c4", "A\x00", "$(x)"])
def test_what_none_can(name: str) -> None:
    assert not is_variable(name)
