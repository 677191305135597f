"""Values as YAML, read back by PyYAML."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from perdure.model.yaml import as_yaml

LINES = st.text(st.sampled_from("ab #:-'\"\\|\t\n~{é"), max_size=30)


@given(LINES)
def test_any_text_is_read_back_as_it_was(text: str) -> None:
    value = {"run": text, "list": [{"run": text, "more": [text]}], text or "x": {"run": text}}
    assert yaml.safe_load(as_yaml(value)) == value


def test_a_script_is_a_block() -> None:
    assert as_yaml({"run": "set -eu\n\n  x  \necho\n"}) == "run: |\n  set -eu\n\n    x  \n  echo\n"


@pytest.mark.parametrize("text", ["a\n\n", " a\n", "a\nb", "a\n\tb\n", "\na\n", "a\n  \n"])
def test_what_a_block_would_change_is_none(text: str) -> None:
    assert "|" not in as_yaml({"run": text})
    assert yaml.safe_load(as_yaml({"run": text})) == {"run": text}
