from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest

from perdure.errors import EnvironmentFailed, MissingProgram, PerdureError, SchedulerUnreachable
from perdure.hosts.local import Completed
from perdure.targets import slurm_queue
from perdure.targets.slurm_queue import (
    Known,
    Queue,
    Word,
    ask,
    complaint,
    parse,
    require_answer,
    seconds_said,
)
from perdure.targets.slurm_ticket import (
    ARRAY_NUMBER,
    Ticket,
    judged,
    number_of,
    standing_of,
)
from perdure.targets.standing import Standing

TEXT = """\
12|RUNNING|None|node2|perdure:ab:one
13|PENDING|(Priority)|n/a|perdure:ab:two
9|COMPLETED|None|node1|perdure:ab:two
14|PENDING|(ReqNodeNotAvail, UnavailableNodes:node1)|n/a|perdure:ab:three
15_[x]|PENDING|(Resources)|n/a|perdure:ab:array
16|RUNNING|None|node1|somebody's | own
17|RUNNING|None|node1|(null)
torn|
"""


def test_jobs_are_found_by_their_comments_the_later_one_of_two() -> None:
    found = parse(TEXT)
    assert {name: word for name, word in found.items() if not name.isdecimal()} == {
        "perdure:ab:one": Word("12", "RUNNING", "", "node2"),
        "perdure:ab:two": Word("13", "PENDING", "Priority", ""),
        "perdure:ab:three": Word("14", "PENDING", "ReqNodeNotAvail, UnavailableNodes:node1", ""),
    }


def test_where_a_cluster_writes_the_comments_itself_the_number_finds_a_job() -> None:
    known = Known(parse(TEXT), 1.0, "")
    assert known.of("perdure:ab:lost", "17") == Word("17", "RUNNING", "", "node1")
    assert known.of("perdure:ab:two", None) == Word("13", "PENDING", "Priority", "")
    assert known.of("perdure:ab:two", "9") == Word("9", "COMPLETED", "", "node1")
    assert known.of("perdure:ab:lost", "99") is None


def test_elements_of_an_array_are_found_by_their_indices() -> None:
    text = (
        "15_3|RUNNING|None|node1|perdure:ab:s:cd\n15_12|PENDING|(Resources)|n/a|perdure:ab:s:cd\n"
    )
    rest = "15_[13-15,18,21-25:2%4]|PENDING|(Priority)|n/a|perdure:ab:s:cd\n"
    known = Known(parse(text + rest), 1.0, "")
    assert known.of("perdure:ab:s:cd#12", None) == Word("15_12", "PENDING", "Resources", "")
    assert known.of("lost", "15_3") == Word("15_3", "RUNNING", "", "node1")
    waits = [n for n in range(30) if known.of(f"perdure:ab:s:cd#{n}", f"15_{n}")]
    assert waits == [3, 12, 13, 14, 15, 18, 21, 23, 25]
    assert known.of("perdure:ab:s:cd#23", None) == Word("15_23", "PENDING", "Priority", "")


def test_of_two_arrays_with_an_element_the_later_one_counts() -> None:
    lines = ("16_[1-3]|PENDING|None|n/a|perdure:ab:s", "9_2|COMPLETED|None|node1|perdure:ab:s")
    for text in ("\n".join(lines), "\n".join(reversed(lines))):
        assert parse(text)["perdure:ab:s#2"] == Word("16_2", "PENDING", "", "")


def test_a_list_of_indices_that_is_cut_off_is_asked_for_one_by_one() -> None:
    asked: list[Sequence[str]] = []

    def squeue(argv: Sequence[str]) -> str:
        asked.append(argv)
        cut = "15_[1,3,5,...]|PENDING|None|n/a|perdure:ab:s\n"
        return "15_7|PENDING|None|n/a|perdure:ab:s\n" if "--array" in argv else cut

    clock = Clock()
    found = Queue(squeue, clock.ping, clock).known()
    assert found.words.keys() == {"15_7", "perdure:ab:s#7"}
    assert ["--array" in argv for argv in asked] == [False, True]


def test_an_array_that_is_being_submitted_is_not_lost(tmp_path: Path) -> None:
    run_dir, array = tmp_path / "run", tmp_path / "array"
    for folder in (run_dir, array):
        folder.mkdir()
    clock = Clock()
    queue = Queue(lambda _: "", clock.ping, clock)
    ticket = Ticket("perdure:ab:s:cd#7", 0, array=str(array))
    found = standing_of(run_dir, ticket, queue)
    assert (found.alive, found.waits) == (True, "being submitted")
    (array / ARRAY_NUMBER).write_text("15")
    assert number_of(ticket) == "15_7"
    assert standing_of(run_dir, ticket, queue).ended == "Slurm has it no more"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.asked = 0
        self.fails = False

    def __call__(self) -> float:
        return self.now

    def ping(self) -> None:
        self.asked += 1
        if self.fails:
            raise SchedulerUnreachable("away")

    def ask(self, argv: Sequence[str]) -> str:
        assert argv[0] == "squeue"
        return TEXT


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> Queue:
    return Queue(clock.ask, clock.ping, clock)


def test_slurm_is_asked_once_a_second_for_all(queue: Queue, clock: Clock) -> None:
    for clock.now in (0.0, 0.5, 0.99):
        assert len(queue.known().words) == 9
    assert clock.asked == 1
    clock.now = 1.0
    queue.known()
    assert clock.asked == 2
    queue.known(fresh=True)
    queue.changed()
    queue.known()
    assert clock.asked == 4


def test_one_that_does_not_answer_is_asked_less_and_less(queue: Queue, clock: Clock) -> None:
    queue.known()
    clock.fails = True
    when = []
    for tick in range(1, 2000):
        clock.now, before = tick / 10 + 1, clock.asked
        found = queue.known()
        when += [clock.now] if clock.asked > before else []
        assert len(found.words) == 9, "what it said last stands"
        assert found.problem == "away"
    pauses = [round(later - earlier, 3) for earlier, later in itertools.pairwise(when)]
    assert pauses[:6] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
    queue.changed()
    assert queue.known().problem, "a change does not have it asked sooner"
    clock.fails, clock.now = False, clock.now + 30
    assert queue.known().problem == ""


COMMENT = "perdure:ab:one"


@pytest.mark.parametrize(
    ("words", "problem", "stands"),
    [
        ("RUNNING", "", Standing(True, None, "", 5.0)),
        ("COMPLETING", "", Standing(True, None, "", 5.0)),
        ("PENDING", "", Standing(True, "why", "", 5.0)),
        ("REQUEUE_HOLD", "", Standing(True, "why", "", 5.0)),
        ("NODE_FAIL", "", Standing(False, None, "Slurm: NODE_FAIL", 5.0)),
        ("", "", Standing(False, None, "Slurm has it no more", 5.0)),
        ("", "away", Standing(True, None, "", 5.0, "away")),
        ("RUNNING", "away", Standing(True, None, "", 5.0, "away")),
        ("COMPLETED", "away", Standing(False, None, "Slurm: COMPLETED", 5.0, "away")),
    ],
)
def test_a_job_goes_on_while_slurm_has_it(words: str, problem: str, stands: Standing) -> None:
    known = {COMMENT: Word("1", words, "why", "")} if words else {}
    assert judged(Known(known, 5.0, problem), Ticket(COMMENT, 0)) == stands


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2-03:04:05", 183845.0),
        ("3:04:05", 11045.0),
        ("30:00", 1800.0),
        ("0:00", 0.0),
        ("UNLIMITED", None),
        ("infinite", None),
        ("INVALID", None),
        ("n/a", None),
        ("", None),
    ],
)
def test_times_are_read_as_slurm_shows_them(text: str, seconds: float | None) -> None:
    assert seconds_said(text) == seconds


def test_a_machine_without_slurm_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingProgram, match="this machine has no Slurm") as caught:
        ask(["squeue"])
    assert "login node" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("said", "away"),
    [
        ("Slurmctld(primary) at vm is UP\n", False),
        ("Slurmctld(primary) at a is DOWN\nSlurmctld(backup) at b is UP\n", False),
        ("Slurmctld(primary) at vm is DOWN\n*** RESTORE SLURMCTLD ***\n", True),
        ("something new\n", False),
        ("", False),
    ],
)
def test_a_scheduler_that_is_down_is_known_at_once(said: str, away: bool) -> None:
    def run(argv: Sequence[str], **_: object) -> Completed:
        return Completed(tuple(argv), 0, said.encode(), b"")

    if not away:
        require_answer(run)
        return
    with pytest.raises(SchedulerUnreachable, match="at vm is down"):
        require_answer(run)


def test_complaints_are_told_apart() -> None:
    away = complaint("slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
    assert isinstance(away, SchedulerUnreachable)
    alone = complaint("sinfo: fatal: Could not establish a configuration source\n")
    assert isinstance(alone, EnvironmentFailed)
    assert alone.message.endswith(
        "belongs to no cluster: Could not establish a configuration source"
    )
    assert "the login node" in (alone.hint or "")
    refused = complaint("sbatch: error: Memory specification can not be satisfied\n")
    assert type(refused) is PerdureError
    assert refused.message == "Memory specification can not be satisfied"
    unknown = "sbatch: unrecognized option '--x'\nTry \"sbatch --help\" for more information\n"
    assert complaint(unknown).message == "unrecognized option '--x'"


def test_a_job_inside_a_slurm_job_is_not_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    monkeypatch.setenv("SBATCH_ACCOUNT", "mine")
    found = slurm_queue.environ()
    assert "SLURM_JOB_ID" not in found
    assert (found["SLURM_CONF"], found["SBATCH_ACCOUNT"]) == ("/etc/slurm.conf", "mine")
