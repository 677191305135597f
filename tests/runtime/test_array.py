"""Elements of a scheduler's array and the trials they take; their supervisor is a function."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from perdure.runtime import array, generation, names
from perdure.runtime.supervisor import program
from tests.runtime.supervisor.harness import MAIN, interpreter

COMMENT = "perdure:0123:rates:ab"


def make(tmp_path: Path, count: int) -> Path:
    """Return the folder of an array of so many trials, all of which were handed over to it."""
    folder = tmp_path / "array"
    (folder / array.TAKEN).mkdir(parents=True)
    for index in range(1, count + 1):
        run_dir = tmp_path / f"rates-{index:04d}"
        run_dir.mkdir()
        ticket = {"format": 1, "comment": f"{COMMENT}#{index}", "after": 0, "number": None}
        (run_dir / names.TICKET_FILE).write_text(json.dumps(ticket))
    trials = {n: [f"rates-{n:04d}", n, 0, ["--n", str(n)]] for n in range(1, count + 1)}
    turns = {
        "results": str(tmp_path),
        "comment": COMMENT,
        "options": ["--grace-s", "5"],
        "command": ["python", "train.py"],
        "trials": trials,
    }
    (folder / array.TURNS_FILE).write_text(json.dumps(turns))
    return folder


class Supervisor:
    """Ends each trial with a code, and notes which it was given."""

    def __init__(self, *codes: int) -> None:
        self._codes = list(codes)
        self.seen: list[str] = []
        self.words: list[str] = []

    def __call__(self, words: Sequence[str]) -> int:
        self.words = list(words)
        run_dir = words[words.index("--run-dir") + 1]
        self.seen.append(Path(run_dir).name)
        generation.claim(run_dir)
        return self._codes.pop(0) if self._codes else 0


def test_an_element_that_is_alone_takes_its_own_trial_only(tmp_path: Path) -> None:
    folder = make(tmp_path, 3)
    for run_dir in tmp_path.glob("rates-*"):
        # As a Kubernetes has it.
        (run_dir / names.TICKET_FILE).unlink()
        ticket = {"format": 1, "name": COMMENT, "after": 0, "released": False}
        (run_dir / names.KUBERNETES_FILE).write_text(json.dumps(ticket))
    supervisor = Supervisor(75, 0)
    assert array.run(str(folder), 2, supervisor, alone=True) == 75
    # It is begun again, and goes on with the same one.
    assert array.run(str(folder), 2, supervisor, alone=True) == 0
    assert supervisor.seen == ["rates-0002", "rates-0002"]
    assert array.take(str(folder), 3, "driver")
    assert array.run(str(folder), 3, supervisor, alone=True) == 0
    assert len(supervisor.seen) == 2


def test_an_element_takes_its_own_trial_and_then_those_nobody_has(tmp_path: Path) -> None:
    folder = make(tmp_path, 4)
    supervisor = Supervisor()
    assert array.run(str(folder), 2, supervisor, job="77") == 0
    assert supervisor.seen == ["rates-0002", "rates-0004", "rates-0001", "rates-0003"]
    assert supervisor.words[-4:] == ["python", "train.py", "--n", "3"]
    # A trial of another element says who has it.
    ticket = json.loads((tmp_path / "rates-0004" / names.TICKET_FILE).read_text())
    assert (ticket["comment"], ticket["number"]) == (f"{COMMENT}#2", "77_2")
    assert (folder / array.NEEDLESS_FILE).read_text() == "77_[1,3-4]\n"


def test_elements_take_from_the_end_each_from_a_place_of_its_own() -> None:
    numbers = list(range(1, 201))
    orders = [array.apart(numbers, index) for index in range(16)]
    assert all(sorted(order) == numbers for order in orders)
    # The last ones come first, and no two elements begin with the same.
    assert all(set(order[:64]) == set(numbers[-64:]) for order in orders)
    assert len({order[0] for order in orders}) == 16
    assert array.apart([], 3) == []


def test_what_others_take_meanwhile_is_passed_over(tmp_path: Path) -> None:
    folder = make(tmp_path, 4)

    class Meanwhile(Supervisor):
        def __call__(self, words: Sequence[str]) -> int:
            if len(self.seen) == 1:
                assert array.take(str(folder), 1, "9")
            return super().__call__(words)

    supervisor = Meanwhile()
    assert array.run(str(folder), 2, supervisor) == 0
    assert supervisor.seen == ["rates-0002", "rates-0004", "rates-0003"]


def test_an_element_that_ran_for_long_takes_no_other(tmp_path: Path) -> None:
    folder, clock = make(tmp_path, 3), iter([0.0, 100.0])
    supervisor = Supervisor()
    assert array.run(str(folder), 1, supervisor, now=lambda: next(clock)) == 0
    assert supervisor.seen == ["rates-0001"]


def test_one_that_was_interrupted_goes_on_with_the_same_trial(tmp_path: Path) -> None:
    folder = make(tmp_path, 3)
    first = Supervisor(0, names.EXIT_INTERRUPTED)
    assert array.run(str(folder), 1, first) == names.EXIT_INTERRUPTED
    assert first.seen == ["rates-0001", "rates-0003"]
    again = Supervisor(0)
    assert array.run(str(folder), 1, again) == 0
    assert again.seen == ["rates-0003", "rates-0002"]


def test_what_is_another_arrays_by_now_is_left_alone(tmp_path: Path) -> None:
    folder = make(tmp_path, 2)
    ticket = {"format": 1, "comment": "perdure:0123:rates:cd#1", "after": 0, "number": None}
    (tmp_path / "rates-0001" / names.TICKET_FILE).write_text(json.dumps(ticket))
    (tmp_path / "rates-0002" / names.TICKET_FILE).unlink()
    supervisor = Supervisor()
    assert array.run(str(folder), 1, supervisor) == 0
    assert supervisor.seen == []


def test_a_trial_that_was_ended_before_it_began_is_not_begun(tmp_path: Path) -> None:
    folder = make(tmp_path, 1)
    generation.claim(tmp_path / "rates-0001")
    supervisor = Supervisor()
    assert array.run(str(folder), 1, supervisor) == 0
    assert supervisor.seen == []


def test_a_failure_is_the_elements_code_and_keeps_none_from_running(tmp_path: Path) -> None:
    supervisor = Supervisor(3, 0)
    assert array.run(str(make(tmp_path, 2)), 1, supervisor) == 3
    assert supervisor.seen == ["rates-0001", "rates-0002"]


def test_of_two_who_take_a_trial_one_has_it(tmp_path: Path) -> None:
    folder = str(make(tmp_path, 1))
    assert [array.take(folder, 1, who) for who in ("driver", "1", "driver")] == [True, False, True]
    assert array.taker(folder, 1) == "driver"


def test_an_element_whose_trial_another_has_takes_the_next(tmp_path: Path) -> None:
    folder = make(tmp_path, 2)
    # It was about to take that one when it was started again elsewhere.
    (folder / f"{array.HELD_PREFIX}1").write_text("2")
    assert array.take(str(folder), 1, "9")
    supervisor = Supervisor()
    assert array.run(str(folder), 1, supervisor) == 0
    assert supervisor.seen == ["rates-0002"]
    assert not (folder / array.NEEDLESS_FILE).exists()


def test_one_that_held_a_trial_that_is_over_takes_another(tmp_path: Path) -> None:
    folder = make(tmp_path, 2)
    run_dir = tmp_path / "rates-0001"
    assert array.take(str(folder), 1, "1")
    (folder / f"{array.HELD_PREFIX}1").write_text("1")
    generation.claim(run_dir)
    (run_dir / names.ATTEMPTS).mkdir()
    ended = json.dumps({"t": 1, "event": "ended", "state": "SUCCEEDED"}) + "\n"
    (run_dir / names.ATTEMPTS / names.numbered(1, ".jsonl")).write_text(ended)
    supervisor = Supervisor()
    assert array.run(str(folder), 1, supervisor) == 0
    assert supervisor.seen == ["rates-0002"]


def supervised(folder: Path) -> subprocess.CompletedProcess[str]:
    words = [*interpreter(), str(MAIN), array.OPTION, str(folder), "1"]
    return subprocess.run(words, capture_output=True, text=True, timeout=120)


def test_a_real_supervisor_runs_the_trials_of_an_element(tmp_path: Path) -> None:
    folder = make(tmp_path, 2)
    turns = json.loads((folder / array.TURNS_FILE).read_text())
    turns["command"] = ["sh", "-c", 'echo "$PERDURE_SEED" "$@"', "sh"]
    (folder / array.TURNS_FILE).write_text(json.dumps(turns))
    done = supervised(folder)
    assert (done.returncode, done.stderr) == (0, "")
    for trial in (1, 2):
        log = tmp_path / f"rates-{trial:04d}" / names.LOGS / names.numbered(1, ".log")
        assert log.read_text() == f"{trial} --n {trial}\n"


def test_an_array_that_is_gone_is_one_clear_line(tmp_path: Path) -> None:
    done = supervised(tmp_path / "gone")
    assert done.returncode == 5
    assert "cannot be read" in done.stderr


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([], ""), ([3], "3"), ([1, 2, 3], "1-3"), ([1, 3, 4, 5, 9], "1,3-5,9")],
)
def test_ranges_are_as_a_scheduler_writes_them(numbers: list[int], text: str) -> None:
    assert array.ranges(numbers) == text


def test_a_supervisor_is_told_which_element_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    supervisor = Supervisor()
    monkeypatch.setattr(program, "_one", supervisor)
    assert program.main(["--array", str(make(tmp_path, 2)), "2"]) == 0
    assert supervisor.seen[0] == "rates-0002"
    assert program.main(["--array", str(tmp_path / "nowhere"), "2"]) == 5
    assert "cannot be read" in capfd.readouterr().err
