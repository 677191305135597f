"""People change both sides while the network between is cut and what carries the sync is killed."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from perdure.hosts.ssh import Ssh
from perdure.hosts.ssh_folder import control_folder
from perdure.sync import session
from perdure.sync.channel import boot_words
from perdure.sync.far.drafts import DRAFT
from perdure.sync.far.patterns import Patterns
from perdure.sync.once import Destination
from perdure.sync.rules import Rules
from perdure.sync.state import State
from tests.engines.hosts import Hosts, processes
from tests.sync.people import PATHS, Book, Person, contents, reckon
from tests.sync.test_fuzz import HERE, SEED, THERE

FAR = "gpu1-rtt20"
RULES = Rules(deletes_much=True)
GOES_BOTH_WAYS = Patterns(RULES.pull)
WAIT_S = 60.0
#: What is asked for is 5 s, and is printed; a machine that does much else at the time is slower.
POLL_S, POLLS = 0.1, 600


class Apart:
    """Two people, a live sync to a host that is 20 ms away, and somebody at its cable."""

    def __init__(self, hosts: Hosts, folder: Path, place: Path) -> None:
        self._hosts = hosts
        self._rng = random.Random(SEED)
        self.roots = self.here, self.there = folder / "here", place / "there"
        for root in self.roots:
            root.mkdir(parents=True)
        self.book = Book()
        self.people = {
            HERE: Person(self.here, folder / "desk", self.book, SEED + 1),
            THERE: Person(self.there, place / "desk", self.book, SEED + 2),
        }
        host = Ssh(FAR, FAR)
        host.connect()
        self._destination = Destination(host.command(boot_words()), str(self.there))
        self.looks = 0
        self.kills: list[str] = []
        self.took: list[float] = []
        self.kept = 0

    def start(self) -> None:
        session.start(self.here, FAR, self._destination, rules=RULES, timeout_s=WAIT_S)

    def episode(self, bursts: int, longest_s: float) -> None:
        """Have people work while the network comes and goes; then see that both sides are alike."""
        over = threading.Event()
        threads = [
            threading.Thread(target=self._work, args=(person, ways, over))
            for ways, person in self.people.items()
        ]
        threads.append(threading.Thread(target=self._look_on, args=(over,)))
        for each in threads:
            each.start()
        try:
            for _ in range(bursts):
                time.sleep(self._rng.uniform(0.1, 1.0))
                self._burst(self._rng.uniform(1.0, longest_s))
        finally:
            over.set()
            for each in threads:
                each.join()
        self._converge()
        self._look()

    def _burst(self, seconds: float) -> None:
        """Cut the network for so long, and kill something before, meanwhile or not at all."""
        victims = (self._carrier, self._master, self._agent, self._session)
        victim = self._rng.choice((*victims, None, None, None))
        before = self._rng.random() < 0.5
        if victim is not None and before:
            self._kill(victim)
        self._hosts.cut("gpu1")
        try:
            time.sleep(seconds)
            if victim is not None and not before:
                self._kill(victim)
        finally:
            self._hosts.mend("gpu1")

    def _kill(self, victim: Callable[[], list[int]]) -> None:
        for pid in victim():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self.kills.append(victim.__name__)
        if victim == self._session:
            while session.status(self.here, FAR) is not None:
                time.sleep(0.01)
            self.start()

    def _session(self) -> list[int]:
        found = session.status(self.here, FAR)
        assert found is not None
        return [int(found["pid"])]

    def _carrier(self) -> list[int]:
        """Return the ssh that the session speaks through."""
        [pid] = self._session()
        return [int(pid) for pid in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def _master(self) -> list[int]:
        return processes("[mux]", str(control_folder()))

    def _agent(self) -> list[int]:
        return self._hosts.processes("gpu1", "zlib.decompress")

    def _work(self, person: Person, ways: tuple[str, ...], over: threading.Event) -> None:
        while not over.is_set():
            person.act(person.rng.randrange(1, 6), ways)
            over.wait(person.rng.uniform(0.0, 0.05))

    def _look_on(self, over: threading.Event) -> None:
        """Read files as a job would: what is not whole goes into the book."""
        rng = random.Random(SEED)
        while not over.wait(0.002):
            path = rng.choice(self.roots) / rng.choice(PATHS)
            with contextlib.suppress(OSError):
                if not path.is_symlink():
                    self.book.check(path.read_bytes())
                    self.looks += 1

    def _converge(self) -> None:
        began, left = time.monotonic(), POLLS
        while (unlike := self._unlike()) and left:
            time.sleep(POLL_S)
            left -= 1
        assert unlike == {}, session.status(self.here, FAR)
        self.took.append(round(time.monotonic() - began, 1))
        assert session.barrier(self.here, FAR, WAIT_S) is True
        assert self._unlike() == {}

    def _unlike(self) -> dict[str, object]:
        """Return what keeps both sides from being alike, as far as it can be seen from outside."""
        try:
            here, there = (contents(root, aside=False) for root in self.roots)
        except OSError as error:
            return {"changes": error}
        mine = {path: content for path, content in here.items() if there.get(path) != content}
        theirs = {path: there[path] for path in there.keys() - here.keys()}
        placed = self.people[THERE].placed
        for path, content in theirs.items():
            left = content not in placed and not content.startswith(b"-> ")
            if left or GOES_BOTH_WAYS.matches(path):
                mine[path] = content
        return dict(mine)

    def _look(self) -> None:
        found = session.status(self.here, FAR)
        assert found is not None
        assert (found["problems"], found["refused"]) == ([], [])
        in_place = [each for root in self.roots for each in contents(root, aside=False).values()]
        self.kept += len(reckon(self.book, self.roots, in_place))

    def end(self) -> None:
        """Stop the sync, and see that it knows of nothing that is there only."""
        session.stop(self.here, FAR)
        state = State(session.Session(self.here, FAR).state)
        here, there = (contents(root, aside=False) for root in self.roots)
        assert [path for path in there.keys() - here.keys() if path in state.base] == []
        assert [path for path in (*here, *there) if DRAFT in path] == []
        state.close()


@pytest.fixture
def apart(hosts_here: Hosts, tmp_path: Path) -> Iterator[Apart]:
    place = hosts_here.place("gpu1") / f"fuzz-{time.time_ns()}"
    made = Apart(hosts_here, tmp_path, place)
    yield made
    session.stop(made.here, FAR)
    shutil.rmtree(place, ignore_errors=True)


@pytest.mark.parametrize(
    ("episodes", "bursts", "longest_s"),
    [
        pytest.param(2, 2, 3.0, id="short"),
        pytest.param(20, 3, 8.0, id="many", marks=[pytest.mark.long, pytest.mark.timeout(1800)]),
    ],
)
def test_a_network_that_comes_and_goes_loses_and_tears_nothing(
    apart: Apart, episodes: int, bursts: int, longest_s: float
) -> None:
    apart.start()
    for _ in range(episodes):
        apart.episode(bursts, longest_s)
    apart.end()
    print(f"{apart.book.operations} operations, {apart.kept} contents kept, killed {apart.kills}")
    print(f"alike after {apart.took} s; {apart.looks} looks")
    assert apart.looks > 100 * episodes
    assert apart.book.operations > 100 * episodes
