"""A project on a laptop whose jobs run on gpu1: a chain of digests, which every step is part of."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.engines.hosts import Hosts, Laptop
from tests.waiting import PATIENCE_S, until

JOB_S = 180.0

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
    if step % 50 == 0:
        print("at", step, flush=True)
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
WORDS = ("from step ", "at ", "done at ")


def told(said: str) -> list[str]:
    """Return the lines of a followed job that are the training's own."""
    return [line for line in said.splitlines() if line.startswith(WORDS)]


@dataclass(frozen=True)
class Chain:
    """The project on the laptop; `root` is the folder on gpu1 that it lies in there."""

    laptop: Laptop
    project: Path
    root: Path

    @property
    def hosts(self) -> Hosts:
        return self.laptop.hosts

    def perdure(self, *words: str, code: int = 0, timeout_s: float = PATIENCE_S) -> str:
        """Return what a command said, which ended with that code."""
        done = self.laptop.perdure(*words, cwd=self.project, timeout_s=timeout_s)
        assert done.code == code, done.out + done.err
        return done.out + done.err

    def run(self, name: str, *words: str, code: int = 0) -> str:
        """Return what `run --on gpu1 --name NAME WORDS...` said."""
        return self.perdure("run", "--on", "gpu1", "--name", name, *words, code=code)

    def followed(self, name: str, *words: str) -> subprocess.Popen[bytes]:
        """Return a job that is followed, once it has begun; all that is said is in its output."""
        argv = (*self.laptop.main(), "run", "--on", "gpu1", "--name", name, *words)
        followed = subprocess.Popen(
            self.laptop.command(*argv, cwd=self.project),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.until((self.project / "results" / name / "attempts" / "000001.jsonl").exists)
        return followed

    def job(self, name: str) -> dict[str, object]:
        """Return what `ps` tells of a job, nothing where it knows of none."""
        done = self.laptop.perdure("ps", "-a", "--json", cwd=self.project)
        found: list[dict[str, object]] = json.loads(done.out)
        return next((each for each in found if each["job"] == name), {})

    def until(self, what: Callable[[], bool]) -> None:
        until(what, every_s=0.1)

    def until_state(self, name: str, state: str) -> None:
        self.until(lambda: self.job(name)["state"] == state)

    def until_saved(self, name: str) -> None:
        self.until(lambda: self.job(name).get("durable_step") is not None)

    def until_step(self, name: str, step: int) -> None:
        """Wait until a training is there. The template's saves at its end, unless somebody asks."""
        self.until(lambda: int(str(self.job(name).get("step") or 0)) >= step)

    def there(self, script: str) -> str:
        """Return what a shell script says on gpu1, in the project's folder there."""
        argv = ("sh", "-c", f'cd "$1"/* && {script}', "sh", str(self.root))
        done = self.hosts.run("gpu1", *argv, user="ada")
        assert done.code == 0, done.err
        return done.out

    def result(self, name: str) -> str:
        """Return the last digest of a job, read on gpu1 itself."""
        return self.there(f"cat results/{name}/outputs/result")


@contextlib.contextmanager
def make_chain(laptop: Laptop, within: Path | None = None) -> Iterator[Chain]:
    """Yield the project, whose jobs run on gpu1 as processes of the same user.

    `within`: the folder there that its root lies in, the place of gpu1 where none is given.
    """
    hosts = laptop.hosts
    root = (within or hosts.place("gpu1")) / laptop.folder.name
    hosts.run("gpu1", "install", "-d", "-o", "ada", str(root))
    laptop.configure(f'[targets.gpu1]\nhost = "gpu1"\nengine = "process"\nroot = "{root}"\n')
    folder = laptop.folder / "the 'chain'"
    (folder / "src" / "chain").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "train.py").write_text(TRAINING)
    yield Chain(laptop, laptop.give(folder), root)
    hosts.start("gpu1")
    hosts.run("gpu1", "pkill", "-9", "-f", str(root))
    hosts.run("gpu1", "rm", "-rf", str(root))
