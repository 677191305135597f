"""Drills on another host whose network cable is pulled out in the middle of it."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from perdure.drill import demo
from perdure.drill.report import lines
from perdure.drill.session import DrillOptions, run_drill
from perdure.jobs.folder import attempts
from perdure.jobs.workspace import Workspace, open_workspace
from tests.drill.conftest import PROJECT, TRAINING
from tests.drill.test_demo import SLOW
from tests.engines.hosts import Hosts
from tests.jobs.contained import runtime_files
from tests.waiting import until

LONG_S = 400.0
# The same again at another moment: for `--long`.
often = partial(pytest.param, marks=pytest.mark.long)
# Thirty steps in a second and a half: what is cut is in the middle of something.
SLOWLY = "import time; time.sleep(0.05)"


@pytest.fixture
def there(hosts_here: Hosts, tmp_path: Path) -> Iterator[Path]:
    """Return an empty folder of the host: a run that was killed may have left one of this name."""
    folder = hosts_here.place("gpu1") / f"drills of {tmp_path.name}"
    shutil.rmtree(folder, ignore_errors=True)
    hosts_here.run("gpu1", "install", "-d", "-o", "ada", str(folder))
    yield folder
    hosts_here.mend("gpu1")
    hosts_here.run("gpu1", "pkill", "-9", "-f", str(folder))
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def workspace(there: Path, tmp_path: Path) -> Workspace:
    root = tmp_path / "it's $(small)"
    for name, file in runtime_files().items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, root / name)
    (root / "pyproject.toml").write_text(PROJECT)
    (root / "train.py").write_text(TRAINING.replace("FAULT", SLOWLY))
    (root / ".perdure").mkdir()
    (root / ".perdure" / "local.toml").write_text(
        f'[targets.gpu1]\nhost = "ada@gpu1"\nengine = "process"\nroot = "{there}"\n'
    )
    return open_workspace(root)


@pytest.mark.timeout(LONG_S)
@pytest.mark.parametrize("moment", [often("before"), "during", often("under its supervisor")])
def test_a_drill_goes_on_when_its_host_answers_again(
    workspace: Workspace, there: Path, hosts_here: Hosts, moment: str
) -> None:
    told: list[str] = []

    def cut_once_it_runs() -> None:
        events = ".perdure/drills/*/drill-*/attempts/000001.jsonl"
        while not list(workspace.project.root.glob(events)):
            time.sleep(0.02)
        hosts_here.cut("gpu1")

    def tell(message: str, *, done: int | None = None, total: int | None = None) -> None:
        told.append(message)
        plays = message == "interrupted runs"
        if plays and done == {"before": 0, "during": 1}.get(moment):
            hosts_here.cut("gpu1")
        elif "supervisor" in message and "supervisor" in moment:
            threading.Thread(target=cut_once_it_runs, daemon=True).start()
        elif "does not answer" in message:
            hosts_here.mend("gpu1")

    found = run_drill(workspace, DrillOptions("train", runs=3, seed=5, target="gpu1"), tell)
    assert found.passed, "\n".join(lines(found))
    lost = told.index("`gpu1` does not answer; what runs there goes on")
    assert told.index("`gpu1` answers again") > lost
    assert not list(there.glob("*/.perdure/lasting/*"))
    assert not list(there.glob("*/.perdure/drills/*"))


@pytest.mark.timeout(LONG_S)
@pytest.mark.parametrize(
    "moment", [often("touched PREEMPT"), often("resumed"), "killed the training"]
)
def test_the_demonstration_goes_on_as_well(
    workspace: Workspace, hosts_here: Hosts, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    root, told, lines = workspace.project.root, list[str](), list[str]()
    # Longer than what is said of it is under way, and than a lost packet takes to be sent again.
    code = SLOW.replace("PLANTED", "").replace("sleep(0.005)", "sleep(0.04)")
    (root / "train.py").write_text(code)
    monkeypatch.setattr(demo, "prepare", lambda folder, tell: None)

    def tell(line: str) -> None:
        lines.append(line)
        if line.startswith(moment) and len([each for each in lines if moment in each]) == 1:
            hosts_here.cut("gpu1")

    def report(message: str, *, done: int | None = None, total: int | None = None) -> None:
        told.append(message)
        if "does not answer" in message:
            hosts_here.mend("gpu1")

    result = demo.run_demo(root, target="gpu1", report=report, tell=tell)
    assert "`gpu1` answers again" in told, lines
    assert attempts(root / "results" / result.interrupted) == [1, 2, 3]


@pytest.mark.timeout(LONG_S)
def test_a_drill_that_is_given_up_leaves_nothing_there(
    workspace: Workspace, there: Path, hosts_here: Hosts
) -> None:
    def tell(message: str, *, done: int | None = None, total: int | None = None) -> None:
        if message.startswith("interrupted runs") and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_drill(workspace, DrillOptions("train", runs=3, seed=5, target="gpu1"), tell)
    assert not list(there.glob("*/.perdure/lasting/*"))
    # A drill that nobody waits for would run on.
    until(lambda: hosts_here.run("gpu1", "pgrep", "-f", "runtime.zygote").code != 0, every_s=0.1)
