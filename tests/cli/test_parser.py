from __future__ import annotations

import argparse

import pytest

from perdure.cli.parser import Parser, build_parser, parse
from perdure.cli.verbs import find_verb
from perdure.errors import UsageError


def parser_of(name: str) -> Parser:
    verb = find_verb(name)
    assert verb is not None
    return build_parser(verb)


def parsed(name: str, *words: str) -> argparse.Namespace:
    return parse(parser_of(name), words)


def refused(name: str, *words: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        parsed(name, *words)
    return caught.value


@pytest.mark.parametrize(
    "rest",
    [
        ("train",),
        ("train", "--epochs", "3"),
        ("train", "-d", "--name", "x", "--help", "--json"),
        ("train", "--", "a", "--", "b"),
        ("train", "", " ", "$(x)", "`y`", "a\nb", "'\"", "猫", "-"),
        ("--", "python", "-c", "print(1)", "--", "-d"),
        ("-",),
    ],
)
def test_what_follows_the_task_is_the_tasks(rest: tuple[str, ...]) -> None:
    arguments = parsed("run", "-d", "--seed", "7", "--name=--x", *rest)
    assert arguments.rest == rest
    assert arguments.detach
    assert arguments.seed == 7
    assert arguments.name == "--x"


def test_an_option_may_take_the_value_of_the_next_word_however_it_looks() -> None:
    assert parsed("run", "--env", "A=b c", "--grace", "2m", "train").grace == 120
    assert parsed("run", "-dv", "train").rest == ("train",)
    assert parsed("run", "-d").rest == ()
    assert "expected one argument" in refused("run", "--seed").message


def test_what_follows_two_dashes_is_the_commands() -> None:
    arguments = parsed(
        "drill", "train", "-n", "5", "--self-test", "--", "--epochs", "2", "--", "-n"
    )
    assert (arguments.task, arguments.runs, arguments.self_test) == ("train", 5, True)
    assert arguments.rest == ("--epochs", "2", "--", "-n")
    assert parsed("attach", "@last").rest == ()


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("run", "--detatch", "train"), "`perdure run` has no option `--detatch`", "`--detach`"),
        (("run", "--zzz", "3", "train"), "no option `--zzz`", "TASK --zzz"),
        (("run", "-x", "train"), "no option `-x`", None),
        (("ps", "--jsn"), "no option `--jsn`", "`--json`"),
        (("ps", "extra"), "unexpected argument `extra`", "perdure ps --help"),
        (("shell", "nvidia-smi"), "unexpected argument `nvidia-smi`", "`... -- nvidia-smi`"),
        (("run", "--watch", "asw", "x"), "`--watch asw` is not one of", "did you mean `aws`?"),
        (("drill", "train", "--zzz"), "no option `--zzz`", "after `--`"),
        (("drill", "train", "--kinds", "trem"), "`trem` is no kind", None),
        (("drill", "train", "--kinds", ","), "name at least one", None),
        (("show",), "required: JOB", "perdure show --help"),
        (("run", "--seed", "-1", "train"), "`-1` is no whole number", None),
        (("run", "--seed", "x", "train"), "`x` is no whole number", None),
        (("run", "--seed", str(2**63), "train"), "is no whole number", None),
        (("run", "--seed", "\u0661", "train"), "is no whole number", None),
        (("run", "--grace", "soon", "train"), "`soon` is no duration", None),
        (("run", "--grace", "inf", "train"), "`inf` is no duration", None),
        (("completion", "fish"), "`fish` is not one of `bash`, `zsh`, `tcsh`", None),
        (("clean", "cod"), "`cod` is not one of `code`", "did you mean `code`?"),
        (("run", "--nam", "x", "train"), "no option `--nam`", "`--name`"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_hint(
    words: tuple[str, ...], message: str, hint: str | None
) -> None:
    error = refused(*words)
    assert message in error.message
    assert error.hint
    assert hint is None or hint in error.hint
    assert "Traceback" not in error.message
