from __future__ import annotations

import io
import json

import pytest

from perdure.cli.progress import ERASE
from perdure.cli.render import Console
from perdure.cli.table import Column, make_table
from perdure.errors import UsageError

TABLE = make_table((Column("job"), Column("state", paint=True)), [("猫", "RUNNING (x)")])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Console:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    stream = Terminal()
    return Console(stream, stream)


def written(console: Console) -> str:
    stream = console._out
    assert isinstance(stream, io.StringIO)
    return stream.getvalue()


def test_data_and_messages_go_their_own_ways() -> None:
    out, err = io.StringIO(), io.StringIO()
    console = Console(out, err)
    console.say("hello")
    console.detail("not asked for")
    console.write("data")
    console.table(TABLE)
    console.status("nowhere")
    console("locking")
    console.close()
    assert out.getvalue() == "datajob  state\n猫   RUNNING (x)\n"
    assert err.getvalue() == "hello\nlocking\n"


def test_more_is_told_to_who_asks() -> None:
    err = io.StringIO()
    Console(io.StringIO(), err, verbose=True).detail("more")
    assert err.getvalue() == "more\n"


def test_json_is_one_line_for_a_program() -> None:
    out = io.StringIO()
    Console(out, io.StringIO()).json({"job": "猫\n"})
    assert out.getvalue().count("\n") == 1
    assert json.loads(out.getvalue()) == {"job": "猫\n"}


def test_lines_cannot_write_to_the_terminal() -> None:
    out = io.StringIO()
    Console(out, io.StringIO()).lines(["a\x1b[2J", "b"])
    assert out.getvalue() == "a\\x1b[2J\nb\n"


def test_a_terminal_has_colours_unless_they_are_refused(
    terminal: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal.table(TABLE)
    assert "\x1b[32mRUNNING (x)" in written(terminal)
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Console(Terminal(), io.StringIO())
    plain.table(TABLE)
    assert "[32m" not in written(plain)
    assert "RUNNING (x)" in written(plain)


def test_a_terminal_of_no_abilities_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    console = Console(Terminal(), Terminal())
    console.table(TABLE)
    assert "\x1b" not in written(console)


def test_a_message_never_lands_in_a_line_the_job_has_begun(terminal: Console) -> None:
    terminal.write("loss 0.5 ...")
    terminal.status("not drawn over it")
    terminal.say("saved")
    terminal.write("done\n")
    terminal.status("drawn")
    terminal.close()
    assert written(terminal) == f"loss 0.5 ...\nsaved\ndone\n{ERASE}drawn{ERASE}"


def test_progress_on_a_terminal_leaves_nothing_behind(terminal: Console) -> None:
    terminal("runs", done=1, total=2)
    terminal.close()
    assert "1/2" in written(terminal)
    assert written(terminal).endswith(ERASE)


def test_without_a_person_a_question_is_an_error_that_names_the_way_out() -> None:
    console = Console(io.StringIO(), io.StringIO())
    with pytest.raises(UsageError) as caught:
        console.confirm("kill 2 jobs?", unasked="perdure kill --all --yes")
    assert caught.value.hint == "perdure kill --all --yes"


@pytest.mark.parametrize(
    ("answer", "meant"),
    [("y\n", True), ("YES\n", True), ("\n", False), ("n\n", False), ("", False)],
)
def test_no_is_the_default(
    answer: str, meant: bool, terminal: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    assert terminal.confirm("kill 2 jobs?", unasked="--yes") is meant
    assert written(terminal) == "kill 2 jobs? [y/N] "


def test_watching_ends_with_ctrl_c() -> None:
    out = io.StringIO()
    seen = 0

    def produce() -> object:
        nonlocal seen
        seen += 1
        if seen == 3:
            raise KeyboardInterrupt
        return TABLE

    Console(out, io.StringIO()).watch(produce, 0.0)  # type: ignore[arg-type]
    assert out.getvalue().count("job") == 2
