from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from perdure.jobs.control import interrupt
from perdure.jobs.follow import follow
from perdure.jobs.launch import resume, start
from perdure.jobs.workspace import Workspace
from perdure.model.job import Event, LogText, State
from tests.jobs.projects import (
    FOREVER,
    finished,
    shell,
    submitted,
    until_state,
    until_step,
    write_events,
)
from tests.waiting import until


def never() -> bool:
    return False


def words(item: LogText | Event) -> str:
    return f"{item.attempt} {item.text if isinstance(item, LogText) else item.name}"


def output(items: Sequence[LogText | Event], attempt: int) -> str:
    texts = (item for item in items if isinstance(item, LogText))
    return "".join(item.text for item in texts if item.attempt == attempt)


def events(items: Sequence[LogText | Event]) -> list[str]:
    return [words(item) for item in items if isinstance(item, Event)]


def followed(folder: Path, stop: Callable[[], bool] = never) -> list[LogText | Event]:
    return list(follow(folder, stop=stop, poll_s=0.005))


def assert_output_comes_first(items: Sequence[LogText | Event]) -> None:
    """Hold that nothing an attempt printed is told after the attempt was said to be over."""
    over: set[int] = set()
    for item in items:
        if isinstance(item, Event) and item.name == "exited":
            over.add(item.attempt)
        assert not (isinstance(item, LogText) and item.attempt in over)


def test_output_and_events_come_in_order(workspace: Workspace) -> None:
    record = submitted(workspace, "4")
    start(workspace, record)
    live = followed(record.folder)
    # What it did can be told again, now that nothing is left of it.
    for items in (live, followed(record.folder)):
        assert output(items, 1) == "from step 0\ndone at 4\n"
        assert events(items)[:3] == ["1 started", "1 hello", "1 restored"]
        assert events(items)[-2:] == ["1 exited", "1 ended"]
        assert_output_comes_first(items)


def test_attempts_follow_each_other(workspace: Workspace) -> None:
    record = submitted(workspace, FOREVER)
    start(workspace, record)
    until_step(record)
    interrupt(record.folder, reason="test")
    first = followed(record.folder)
    assert events(first)[-1] == "1 ended"
    resume(workspace, record)
    until_state(record, State.RUNNING)
    until(lambda: "from step" in (record.folder / "logs" / "000002.log").read_text())
    interrupt(record.folder, reason="test")
    both = followed(record.folder)
    assert events(both)[: len(events(first))] == events(first)
    assert output(both, 1) == output(first, 1)
    assert [item.attempt for item in both] == sorted(item.attempt for item in both)
    assert events(both)[-1] == "2 ended"
    assert_output_comes_first(both)


def test_a_supervisor_that_dies_ends_it(workspace: Workspace) -> None:
    record = submitted(workspace, FOREVER)
    pid = start(workspace, record)
    until_step(record)
    found: list[str] = []
    for item in follow(record.folder, stop=never, poll_s=0.005):
        found.append(words(item))
        if found[-1] == "1 durable":
            os.kill(pid, signal.SIGKILL)
    assert "1 ended" not in found
    until_state(record, State.LOST)


def test_whoever_stops_following_gets_what_is_there(workspace: Workspace) -> None:
    record = submitted(workspace, FOREVER)
    start(workspace, record)
    until_step(record)
    found = followed(record.folder, stop=lambda: True)
    assert events(found)[0] == "1 started"
    assert output(found, 1) == "from step 0\n"
    assert "1 durable" in events(found)


def test_a_job_that_never_ran_has_nothing_to_follow(workspace: Workspace) -> None:
    assert followed(submitted(workspace, "1").folder) == []


def test_characters_that_arrive_in_pieces_and_bytes_that_are_none(workspace: Workspace) -> None:
    script = r"printf 'h\303'; sleep 0.05; printf '\251llo\n\377 end\303'"
    record = shell(workspace, script)
    start(workspace, record)
    items = list(follow(record.folder, stop=never, poll_s=0.001))
    assert "".join(item.text for item in items if isinstance(item, LogText)) == (
        "h\u00e9llo\n\ufffd end\ufffd"
    )


def test_an_event_that_arrives_in_pieces(tmp_path: Path) -> None:
    write_events(tmp_path, 1, [{"t": 1, "event": "started"}])
    path = tmp_path / "attempts" / "000001.jsonl"
    pieces = iter([b'{"t": 2, "ev', b'ent": "ended"}', b"\n"])

    def arrive() -> bool:
        piece = next(pieces, None)
        if piece is not None:
            with path.open("ab") as file:
                file.write(piece)
        return piece is None

    import fcntl

    with (tmp_path / "supervisor.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        found = [words(i) for i in follow(tmp_path, stop=arrive, pause=lambda seconds: None)]
    assert found == ["1 started", "1 ended"]


def test_a_large_output_is_told_whole(workspace: Workspace) -> None:
    record = shell(workspace, "yes 0123456789 | head -c 3000000")
    assert finished(workspace, record).state is State.SUCCEEDED
    texts = [i.text for i in follow(record.folder, stop=never) if isinstance(i, LogText)]
    assert len("".join(texts)) == 3_000_000
    assert max(map(len, texts)) <= 1 << 20
