"""A project on a laptop, its jobs on another machine: what a user types, and what may go wrong."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engines.hosts import Hosts, Laptop

PATIENCE_S = 120.0
JOB_S = 180.0
SLOW_S = 1500.0

#: A training whose result depends on every step: a chain of digests, saved now and then.
TRAINING = """\
import hashlib, json, os, signal, socket, sys, time

channel = socket.socket(fileno=os.dup(int(os.environ["PERDURE_CTL_FD"])))
asked = []
signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
outputs = os.path.join(os.environ["PERDURE_RUN_DIR"], "outputs")
saved = os.path.join(outputs, "saved.json")

def tell(event, **fields):
    channel.sendall((json.dumps({"event": event, **fields}) + "\\n").encode())

def save(name, content):
    with open(os.path.join(outputs, name + ".part"), "w") as file:
        file.write(content)
    os.replace(os.path.join(outputs, name + ".part"), os.path.join(outputs, name))

tell("hello", pid=os.getpid(), api=1, python="3", torch=None, world=1)
step, chain = json.load(open(saved)) if os.path.exists(saved) else (0, os.environ["PERDURE_SEED"])
tell("restored", step=step, generation=1 if step else None, seconds=0.0)
print("from step", step, flush=True)
last, pause = int(sys.argv[1]), float(sys.argv[2])
while step < last:
    step += 1
    chain = hashlib.sha256(f"{chain} {step}".encode()).hexdigest()
    tell("step", step=step)
    if asked or step % 5 == 0:
        save("saved.json", json.dumps([step, chain]))
        tell("durable", step=step, bytes=1, seconds=0.0, reason="asked")
    if asked:
        tell("exiting", code=75, step=step, durable_step=step, reason="interrupted")
        sys.exit(75)
    time.sleep(pause)
save("result", chain)
print("done at", step, flush=True)
"""
PROJECT = """\
[project]
name = "chain"
version = "0"
[tool.perdure]
format = 1
package = "chain"
[tool.perdure.tasks]
train = "python train.py"
"""
FOREVER = ("100000", "0.02")
QUICK = ("20", "0.01")


@pytest.fixture
def project(laptop: Laptop) -> Iterator[Path]:
    """Return a project on the laptop, whose jobs run on gpu1 as processes of the same user."""
    hosts = laptop.hosts
    root = hosts.place("gpu1") / laptop.folder.name
    hosts.run("gpu1", "install", "-d", "-o", "ada", str(root))
    laptop.configure(f'[targets.gpu1]\nhost = "gpu1"\nengine = "process"\nroot = "{root}"\n')
    folder = laptop.folder / "the 'chain'"
    (folder / "src" / "chain").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "train.py").write_text(TRAINING)
    yield laptop.give(folder)
    hosts.start("gpu1")
    hosts.run("gpu1", "pkill", "-9", "-f", str(root))
    hosts.run("gpu1", "rm", "-rf", str(root))


def perdure(laptop: Laptop, project: Path, *words: str, code: int = 0) -> str:
    done = laptop.perdure(*words, cwd=project)
    assert done.code == code, done.out + done.err
    return done.out + done.err


def job_on(laptop: Laptop, project: Path, job: str) -> dict[str, object]:
    done = laptop.perdure("ps", "-a", "--json", cwd=project)
    found: list[dict[str, object]] = json.loads(done.out)
    return next((each for each in found if each["job"] == job), {})


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def until_saved(laptop: Laptop, project: Path, job: str) -> None:
    until(lambda: job_on(laptop, project, job).get("durable_step") is not None)


def result(hosts: Hosts, laptop: Laptop, job: str) -> str:
    found = (hosts.place("gpu1") / laptop.folder.name).glob(f"*/results/{job}/outputs/result")
    return next(found).read_text()


@pytest.mark.timeout(JOB_S)
def test_a_job_is_run_looked_at_and_ended_from_the_laptop(laptop: Laptop, project: Path) -> None:
    said = perdure(laptop, project, "run", "--on", "gpu1", "--name", "one", "train", *QUICK)
    assert "from step 0\n" in said
    assert "done at 20\n" in said
    assert "SUCCEEDED" in said
    found = job_on(laptop, project, "one")
    assert (found["target"], found["state"], found["step"]) == ("gpu1", "SUCCEEDED", 20)

    perdure(laptop, project, "run", "--on", "gpu1", "--name", "two", "-d", "train", *FOREVER)
    until_saved(laptop, project, "two")
    assert "gpu1" in perdure(laptop, project, "ps")
    assert "gpu1" in perdure(laptop, project, "show", "two")
    here = perdure(laptop, project, "attach", "two", "--", "sh", "-c", "hostname; pwd; id -un")
    assert here.split("\n")[0] == "gpu1"
    assert "/snapshots/" in here.split("\n")[1]
    assert here.split("\n")[2] == "ada"
    assert "saved at step" in perdure(laptop, project, "interrupt", "two")
    assert job_on(laptop, project, "two")["state"] == "INTERRUPTED"
    perdure(laptop, project, "resume", "-d", "two")
    assert job_on(laptop, project, "two")["state"] in ("STARTING", "RUNNING")
    assert "already running" in perdure(laptop, project, "resume", "two", code=3)
    until(lambda: perdure(laptop, project, "logs", "two").count("from step") == 2)
    assert "killed `two`" in perdure(laptop, project, "kill", "two")
    assert job_on(laptop, project, "two")["state"] == "CANCELLED"
    explained = perdure(laptop, project, "run", "--on", "gpu1", "--explain", "train", *QUICK)
    assert "/srv/gpu1" in explained


@pytest.mark.timeout(JOB_S)
def test_ctrl_c_saves_and_stops_a_job_that_is_followed(laptop: Laptop, project: Path) -> None:
    words = laptop.command(
        *laptop.main(), "run", "--on", "gpu1", "--name", "one", "train", *FOREVER, cwd=project
    )
    followed = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    until((project / "results" / "one" / "attempts" / "000001.jsonl").exists)
    until_saved(laptop, project, "one")
    # To the process itself: the one that was started only passes on what it says.
    laptop.hosts.run("laptop", "pkill", "-INT", "-f", "perdure.cli.main run --on gpu1")
    said = followed.communicate(timeout=PATIENCE_S)[0].decode()
    assert followed.returncode == 75, said
    assert "go on: perdure resume one" in said
    assert job_on(laptop, project, "one")["state"] == "INTERRUPTED"


@pytest.mark.timeout(JOB_S)
def test_a_job_goes_on_without_its_network(hosts: Hosts, laptop: Laptop, project: Path) -> None:
    words = ("run", "--on", "gpu1", "--name", "one", "train", "600", "0.02")
    followed = subprocess.Popen(
        laptop.command(*laptop.main(), *words, cwd=project),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    until((project / "results" / "one" / "attempts" / "000001.jsonl").exists)
    hosts.cut("gpu1")
    found = job_on(laptop, project, "one")
    assert found["state"] in ("STARTING", "RUNNING")
    assert found["problem"]
    assert isinstance(found["asked_at"], float)
    said = perdure(laptop, project, "ps")
    assert "unreachable, " in said
    assert "hint" in perdure(laptop, project, "kill", "one", code=4)
    hosts.mend("gpu1")
    said = followed.communicate(timeout=PATIENCE_S)[0].decode()
    assert followed.returncode == 0, said
    assert said.count("`gpu1` does not answer; the job goes on there") == 1, said
    assert said.count("`gpu1` answers again") == 1, said
    assert "done at 600" in said
    assert said.count("from step") == 1, said


@pytest.mark.timeout(JOB_S)
def test_a_host_that_lost_its_power_ends_its_jobs_alike(
    hosts: Hosts, laptop: Laptop, project: Path
) -> None:
    train = ("--seed", "7", "train")
    perdure(laptop, project, "run", "--on", "gpu1", "--name", "whole", *train, "150", "0")
    words = ("run", "--on", "gpu1", "--name", "broken", "-d", *train, "150", "0.05")
    perdure(laptop, project, *words)
    until_saved(laptop, project, "broken")
    hosts.kill("gpu1")
    assert "does not answer" in perdure(laptop, project, "recover")
    hosts.start("gpu1")
    assert job_on(laptop, project, "broken")["reason"] == "the machine restarted"
    assert "`broken` runs again" in perdure(laptop, project, "recover")
    until(lambda: job_on(laptop, project, "broken")["state"] == "SUCCEEDED")
    found = job_on(laptop, project, "broken")
    assert (found["attempt"], found["began_again"]) == (2, False)
    assert result(hosts, laptop, "broken") == result(hosts, laptop, "whole")


def weights(laptop: Laptop, project: Path, job: str) -> tuple[object, object, object]:
    """Return what a training of the template came to: its weights, and all of its metrics."""
    found = json.loads(perdure(laptop, project, "show", job, "--json"))["result"]
    assert found["complete"]
    return found["weights"], found["rows"], found["metrics"]


def train(laptop: Laptop, name: str, *options: str) -> tuple[str, ...]:
    """Return the words that train the template's network, with the same seed each time."""
    words = ("run", "--on", "gpu1", "--name", name, *options, "--seed", "7", "train")
    return (*laptop.main(), *words, "--epochs", "10")


def until_step(laptop: Laptop, project: Path, job: str, step: int) -> None:
    """Wait until a training is there. It saves at its end, unless somebody asks."""
    until(lambda: int(str(job_on(laptop, project, job).get("step") or 0)) >= step)


def train_cut_off(hosts: Hosts, laptop: Laptop, project: Path) -> None:
    """Train while the network is gone for half a minute, and somebody looks on."""
    words = laptop.command(*train(laptop, "cut"), cwd=project)
    followed = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    until_step(laptop, project, "cut", 20)
    hosts.cut("gpu1")
    time.sleep(30)
    hosts.mend("gpu1")
    said = followed.communicate(timeout=SLOW_S)[0].decode()
    assert followed.returncode == 0, said


def train_without_power(hosts: Hosts, laptop: Laptop, project: Path) -> None:
    """Train on a host whose power is taken in the middle."""
    laptop.run(*train(laptop, "dark", "-d"), cwd=project)
    until_step(laptop, project, "dark", 20)
    perdure(laptop, project, "interrupt", "dark")
    perdure(laptop, project, "resume", "-d", "dark")
    until_step(laptop, project, "dark", 80)
    hosts.kill("gpu1")
    hosts.start("gpu1")
    until(lambda: job_on(laptop, project, "dark")["state"] == "LOST")
    perdure(laptop, project, "recover")
    until(lambda: job_on(laptop, project, "dark")["state"] == "SUCCEEDED")


@pytest.mark.long
@pytest.mark.install
@pytest.mark.timeout(3600)
def test_the_template_trains_drills_and_demonstrates_on_another_host(
    hosts: Hosts, laptop: Laptop, project: Path
) -> None:
    """`project` is there for its target; the template's is made beside it."""
    done = laptop.perdure("demo", "digits", "--in", "gpu1", timeout_s=SLOW_S)
    assert done.code == 0, done.out + done.err
    assert "identical: weights" in done.out
    digits = laptop.folder / "digits"
    words = ("drill", "train", "-n", "10", "--on", "gpu1")
    done = laptop.perdure(*words, cwd=digits, timeout_s=SLOW_S)
    assert done.code == 0, done.out + done.err
    assert "10/10 bit-exact" in done.out
    done = laptop.run(*train(laptop, "whole"), cwd=digits, timeout_s=SLOW_S)
    assert done.code == 0, done.out + done.err
    train_cut_off(hosts, laptop, digits)
    assert weights(laptop, digits, "cut") == weights(laptop, digits, "whole")
    train_without_power(hosts, laptop, digits)
    assert weights(laptop, digits, "dark") == weights(laptop, digits, "whole")
