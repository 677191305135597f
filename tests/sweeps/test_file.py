"""sweep.toml: what it says, or all that is wrong with it."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure.errors import PerdureError, UsageError
from perdure.sweeps.file import read_file

SCALARS = (
    st.booleans()
    | st.integers()
    | st.floats().map(repr)
    | st.text(max_size=5).map(lambda text: json.dumps(text, ensure_ascii=False))
    | st.sampled_from(['"0..4"', '"1e-5..1e-1:log"', '"grid"', '"optuna"', '"tpe"', "2020-01-01"])
)
VALUES = SCALARS | st.lists(SCALARS, max_size=3).map(lambda each: f"[{','.join(map(toml, each))}]")
KEYS = st.sampled_from(
    [
        *("task", "name", "on", "max_running", "seed", "arguments", "x", "a.b", "kind", "trials"),
        *("metric", "direction", "sampler", "pruner", "options.a", "axes", "search", "axes.x"),
    ]
)
LINES = st.builds(lambda key, value: f"{key} = {toml(value)}\n", KEYS, VALUES)
DOCUMENTS = st.lists(LINES | st.sampled_from(["[axes]\n", "[search]\n"]), max_size=8).map("".join)


def toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@given(DOCUMENTS | st.text(max_size=30))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_is_a_sweep_or_a_clear_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text(text, encoding="utf-8")
    with contextlib.suppress(PerdureError):
        read_file(path).axes_as("hydra")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"seed = {'9' * 5000}", "not valid TOML"),
        (f"arguments = {'[' * 5000}{']' * 5000}", "not valid TOML"),
        ('arguments = ["a\\u0000"]', "the character 0"),
    ],
)
def test_what_no_program_takes_is_said_so(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        read_file(path)
