from __future__ import annotations

import importlib

import pytest

from perdure.cli.overview import help_text
from perdure.cli.verb import Verb
from perdure.cli.verbs import GROUPS, VERBS, find_verb


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_every_verb_is_whole(verb: Verb) -> None:
    module = importlib.import_module(verb.module)
    assert module.__name__ == verb.module
    assert callable(module.add_arguments)
    assert callable(module.execute)
    assert verb.group in GROUPS
    assert verb.summary[0].islower()
    assert not verb.summary.endswith(".")
    assert verb.examples
    assert all(f"perdure {verb.name}" in example for example in verb.examples)


def test_help_has_one_line_a_verb_and_fits_a_terminal() -> None:
    lines = help_text().splitlines()
    for verb in VERBS:
        assert sum(line.startswith(f"  {verb.name} ") for line in lines) == 1
    assert max(map(len, lines)) <= 100


def test_verbs_have_names_of_their_own() -> None:
    assert len({verb.name for verb in VERBS}) == len(VERBS)
    assert find_verb("run") is not None
    assert find_verb("runn") is None
