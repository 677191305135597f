"""A user at a laptop, their project, and a host whose engine runs its jobs in containers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from perdure.runtime.result import Result, read_result
from perdure.targets.place import folder_name
from tests.cli.command import Ended
from tests.engines.hosts import Hosts, Laptop
from tests.jobs.projects import TRAINING
from tests.waiting import until

PATIENCE_S = 900
_PROJECT = """\
[project]
name = "cats"
version = "0.1"
requires-python = ">=3.9"

[tool.perdure]
format = 1
package = "cats"

[tool.perdure.tasks]
train = "python train.py"
"""


@dataclass(frozen=True)
class House:
    """A user at the laptop, their project, and gpu1 with its engine, which they reach."""

    laptop: Laptop
    project: Path
    root: Path
    host: str = "gpu1"
    kind: str = "old"

    @property
    def hosts(self) -> Hosts:
        return self.laptop.hosts

    @property
    def there(self) -> Path:
        """The project's folder on the host: this process sees it too."""
        return self.root / folder_name(self.project, f"ada@{self.host}")

    def perdure(self, *words: str, code: int = 0, cwd: Path | None = None) -> Ended:
        ended = self.laptop.perdure(*words, cwd=cwd or self.project, timeout_s=PATIENCE_S)
        assert ended.code == code, ended
        return ended

    def typed(self, keys: str, *words: str) -> tuple[int, str]:
        """Return how a command ended on a terminal where `keys` are typed, and the text."""
        mine, theirs = os.openpty()
        argv = self.laptop.command(*self.laptop.main(), *words, cwd=self.project)
        process = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        os.write(mine, keys.encode())
        text = b""
        with contextlib.suppress(OSError):  # the other side is closed
            while data := os.read(mine, 1 << 16):
                text += data
        os.close(mine)
        return process.wait(60), text.decode("utf-8", "replace")

    def docker(self, *words: str) -> str:
        ended = self.hosts.run(self.host, "docker", *words)
        assert ended.code == 0, ended
        return ended.out.strip()

    def state(self, job: str) -> str:
        listed = json.loads(self.perdure("ps", "--all", "--json").out)
        return next(str(each["state"]) for each in listed if each["job"] == job)

    def events(self, job: str, attempt: int = 1) -> list[dict[str, object]]:
        """Return what a job has told, read on gpu1 itself."""
        file = self.there / "results" / job / "attempts" / f"{attempt:06d}.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [json.loads(line) for line in lines]

    def result(self, job: str) -> Result:
        """Return what a job came to, read on gpu1 itself."""
        found = read_result(str(self.there / "results" / job))
        assert found is not None
        assert found.complete
        return found

    def until(self, what: Callable[[], bool], patience_s: float = 120) -> None:
        until(what, every_s=0.05, patience_s=patience_s)

    def until_step(self, job: str, attempt: int = 1) -> None:
        self.until(lambda: any(e["event"] == "durable" for e in self.events(job, attempt)))

    def until_events(self, job: str, count: int) -> None:
        self.until(lambda: len(self.events(job)) >= count)

    def until_state(self, job: str, state: str) -> None:
        self.until(lambda: self.state(job) == state, PATIENCE_S / 2)

    def owners(self) -> set[int]:
        return {path.lstat().st_uid for path in self.there.rglob("*")}

    def containers(self) -> list[str]:
        label = f"label=perdure.project={self.there}"
        return self.docker("ps", "--all", "--format", "{{.Names}}", "--filter", label).split()


@contextlib.contextmanager
def make_house(
    laptop: Laptop, host: str = "gpu1", kind: str = "old", training: str = TRAINING
) -> Iterator[House]:
    """Yield the house; its containers are removed afterwards."""
    hosts = laptop.hosts
    hosts.engine(host, kind)
    root = hosts.place(host) / laptop.folder.name
    hosts.run(host, "install", "-d", "-o", "ada", str(root))
    laptop.configure(f'[targets.gpubox]\nhost = "ada@{host}"\nroot = "{root}"\n')
    project = laptop.folder / "my 'cats'"
    (project / "src" / "cats").mkdir(parents=True)
    (project / "src" / "cats" / "__init__.py").write_text("")
    (project / "pyproject.toml").write_text(_PROJECT)
    (project / "train.py").write_text(training)
    made = House(laptop, laptop.give(project), root, host, kind)
    yield made
    hosts.start(host)
    hosts.engine(host, kind)
    words = ("ps", "--all", "--filter", "label=perdure.project", "--format")
    for line in made.docker(*words, '{{.Names}} {{.Label "perdure.project"}}').splitlines():
        if line.partition(" ")[2].startswith(str(root)):
            made.docker("rm", "--force", line.partition(" ")[0])
    shutil.rmtree(root, ignore_errors=True)
