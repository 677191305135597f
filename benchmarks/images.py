"""Compare perdure's images with those that uv's documentation recommends to build.

One project (`perdure new`, with torch), one lock, one engine, one run. Both have warm package
caches, as whoever has built before; both get uv and this machine's wheels from here, and neither
makes attestations. `cold` is a build without any cached step.

    benchmarks/images.py [--engine old|modern] [--turns N] [--light]

`--light` leaves torch out, to try the benchmark itself: its figures mean nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import measure
from benchmarks.images_peer import Peer
from benchmarks.images_ship import Bytes, delta_bytes, squashfs_s
from perdure.environments.pinned import ensure_pinned
from perdure.environments.uv import find_uv
from perdure.hosts.engine import find_engine
from perdure.images.build import ensure_image
from perdure.model.image import Stage
from perdure.model.project import Project
from perdure.model.report import silent
from perdure.model.settings import Docker, Settings
from tests.engines.engines import NEW, OLD, RealEngine, start, stop

ENGINES = {"old": OLD, "modern": NEW}
DEPENDENCIES = ("six", "toml", "attrs", "idna")
USER_ID = 1000
PEER = "perdure-bench/peer"
NO_CHANGE_S = 0.1
CODE_ONLY_S = 1.0
DEPENDENCY_S = 3.0
# What the installed command consists of.
COMMAND = "from perdure.cli.main import main; raise SystemExit(main())"


@dataclass(slots=True)
class Bench:
    """Both sides of the comparison, in one folder."""

    engine: RealEngine
    root: Path
    settings: Settings
    peer: Peer
    tags: list[str]

    @property
    def project(self) -> Project:
        """Return the project as its files declare it now."""
        from perdure.project.decode import load_project

        return load_project(self.root)

    def ours(self, *, code: Path | None = None, settings: Settings | None = None) -> str:
        """Return the tag of perdure's image, built if it is not there."""
        chosen = settings or self.settings
        image = ensure_image(self.project, chosen, Stage.RUNTIME, code=code, report=silent)
        self.tags.append(image.tag)
        return image.tag

    def cold(self) -> float:
        """Return the seconds of perdure's build where no step is cached."""
        self.engine.docker("image", "rm", "--force", self.ours())
        client = self.root.parent / "docker"
        client.write_text(NO_CACHE.format(client=self.engine.client), encoding="utf-8")
        client.chmod(0o755)
        settings = replace(self.settings, docker=Docker(program=str(client)))
        return measure.timed(lambda: self.ours(settings=settings))

    def unchanged(self) -> float:
        """Return the seconds of a `perdure build` that finds the image up to date.

        It is a process of its own: its start and its imports count.
        """
        argv = [sys.executable, "-c", COMMAND, "build"]
        hidden = ("PYTHONDONTWRITEBYTECODE", "PERDURE_DEBUG")
        environ = {name: text for name, text in os.environ.items() if name not in hidden}
        environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[1] / "src")

        def run() -> None:
            subprocess.run(argv, cwd=self.root, env=environ, check=True, capture_output=True)

        return measure.timed(run)

    def asked(self) -> float:
        """Return the seconds that the engine takes to say what it has."""
        engine, tag = find_engine(self.settings), self.tags[-1]
        return measure.timed(lambda: engine.inspect_image(tag))

    def edit(self, number: int) -> None:
        """Change a line of the project's code."""
        (self.root / "src" / "bench" / "edited.py").write_text(f"NUMBER = {number}\n")

    def snapshot(self, number: int) -> Path:
        """Return a copy of the code as it is, for an image that carries it."""
        target = self.root.parent / f"snapshot-{number}"
        left_out = shutil.ignore_patterns(".git", ".perdure", "results", "data")
        shutil.copytree(self.root, target, ignore=left_out)
        return target

    def depend(self, name: str) -> None:
        """Add a dependency, and bring the locks up to date. Not timed."""
        file = self.root / "pyproject.toml"
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace("dependencies = [", f'dependencies = [\n  "{name}",', 1))
        ensure_pinned(self.project, self.settings, report=silent, refresh=False)
        own(self.root)
        self.peer.prepare(Path(find_uv(os.environ)))


NO_CACHE = """\
#!/bin/sh
if [ "$1" = build ]; then shift; exec {client} build --no-cache "$@"; fi
exec {client} "$@"
"""


def own(root: Path) -> None:
    """Give the project to an ordinary user: containers do not run as root."""
    if os.getuid() == 0:
        for folder, folders, files in os.walk(root):
            for name in [".", *folders, *files]:
                os.lchown(Path(folder, name), USER_ID, USER_ID)


def make_project(folder: Path, *, light: bool) -> Path:
    """Return a project as `perdure new` makes it."""
    argv = [sys.executable, "-c", COMMAND, "new", "bench", "--yes"]
    subprocess.run(argv, cwd=folder, check=True, capture_output=True)
    root = folder / "bench"
    if light:
        file = root / "pyproject.toml"
        kept, *_ = file.read_text(encoding="utf-8").partition("[[tool.uv.index]]")
        lines = [line for line in kept.splitlines() if not line.startswith("torch = [{")]
        file.write_text("\n".join(lines).replace("torch==2.13.0", "tqdm") + "\n")
    own(root)
    return root


def against_peer(bench: Bench, turns: int) -> list[measure.Line]:
    """Return the rows of builds: cold, no change, code only, a dependency more."""
    rows: list[measure.Line] = []
    for step in (cold_rows, unchanged_rows, code_rows, dependency_rows):
        rows += step(bench, turns)
        # It takes long: whoever waits sees what there is so far.
        for row in rows[-3:]:
            print(f"  {row.name}: {row.best_s:.3f} {row.unit}", file=sys.stderr, flush=True)
    return rows


def cold_rows(bench: Bench, turns: int) -> list[measure.Line]:
    """Return the rows of builds without a cached step."""
    ways = {
        "ours": bench.cold,
        "peer": lambda: measure.timed(lambda: bench.peer.build(cached=False)),
    }
    found = measure.in_turns(ways, turns)
    return [
        measure.line("uv's Dockerfile: cold", found["peer"]),
        measure.against("perdure: cold", found["ours"], found["peer"], at_least=1.5),
    ]


def unchanged_rows(bench: Bench, turns: int) -> list[measure.Line]:
    """Return the rows of builds with nothing to do."""
    bench.ours()
    bench.peer.build()
    # The command has been given before, as the peer's has.
    bench.unchanged()
    ways = {
        "ours": bench.unchanged,
        "asked": bench.asked,
        "peer": lambda: measure.timed(bench.peer.build),
    }
    found = measure.in_turns(ways, max(turns, 5))
    beyond = min(found["ours"]) - min(found["asked"])
    return [
        measure.line("uv's Dockerfile: no change", found["peer"]),
        measure.line("the engine's own answer", found["asked"]),
        measure.line("perdure: no change", found["ours"]),
        within("  beyond the engine's answer, to 100 ms", beyond, NO_CHANGE_S),
    ]


def code_rows(bench: Bench, turns: int) -> list[measure.Line]:
    """Return the rows of a changed line of code, in images that carry the code."""
    ours, peer = [], []
    bench.ours(code=bench.snapshot(-1))
    for number in range(max(turns, 2)):
        bench.edit(number)
        code = bench.snapshot(number)
        ours.append(measure.timed(partial(bench.ours, code=code)))
        peer.append(measure.timed(bench.peer.build))
    return [
        measure.line("uv's Dockerfile: code only", peer),
        measure.against("perdure: code only", ours, peer),
        within("  to 1 s", min(ours), CODE_ONLY_S),
    ]


def dependency_rows(bench: Bench, turns: int) -> list[measure.Line]:
    """Return the rows of a dependency more, and of what has to be shipped after it."""
    ours, peer = [], []
    moved: list[tuple[Bytes, Bytes]] = []
    for number, name in enumerate(DEPENDENCIES[: min(max(turns, 2), len(DEPENDENCIES))]):
        before = bench.tags[-1] if number else bench.ours()
        earlier = f"{PEER}:before-{number}"
        bench.engine.docker("tag", bench.peer.tag, earlier)
        bench.tags.append(earlier)
        bench.depend(name)
        ours.append(measure.timed(bench.ours))
        after = bench.tags[-1]
        peer.append(measure.timed(bench.peer.build))
        engine = find_engine(bench.settings)
        moved.append(
            (delta_bytes(engine, before, after), delta_bytes(engine, earlier, bench.peer.tag))
        )
    return [
        measure.line("uv's Dockerfile: one dependency more", peer),
        measure.against("perdure: one dependency more", ours, peer, at_least=8),
        within("  to 3 s", min(ours), DEPENDENCY_S),
        *shipped_rows(moved),
    ]


def shipped_rows(moved: list[tuple[Bytes, Bytes]]) -> list[measure.Line]:
    """Return the rows of bytes, in MB."""
    ours, peer = (min((pair[side] for pair in moved), key=lambda each: each.new) for side in (0, 1))
    share = ours.new / ours.all / 0.01
    return [
        measure.amount("uv's Dockerfile: to ship after it", peer.new / 1e6, "MB"),
        measure.amount("perdure: the whole image", ours.all / 1e6, "MB"),
        measure.amount("perdure: to ship after it", ours.new / 1e6, "MB", share, at_most=1),
    ]


def squashfs_rows(bench: Bench) -> list[measure.Line]:
    """Return the row of an image as a squashfs, in seconds for each GB of its files."""
    file = bench.root.parent / "image.sqfs"
    seconds, count = squashfs_s(find_engine(bench.settings), bench.ours(), file)
    rate = seconds / (count / 1e9)
    squashed = file.stat().st_size / 1e6
    return [
        measure.Line("perdure: squashfs", seconds, seconds),
        measure.amount("  of an image of", count / 1e6, "MB"),
        measure.amount("  the file", squashed, "MB"),
        measure.amount("  for each GB, to 20 s", rate, "s/GB", rate / 20, at_most=1),
    ]


def within(name: str, seconds: float, limit_s: float) -> measure.Line:
    """Return a row for seconds that have a limit of their own."""
    return measure.Line(name, seconds, seconds, seconds / limit_s, at_most=1)


def compare(which: str, folder: Path, turns: int, *, light: bool) -> None:
    """Measure, report, and remove the images."""
    engine = ENGINES[which]
    os.environ.update(engine.variables)
    root = make_project(folder, light=light)
    peer = Peer(engine, root, "debian:bookworm-slim", f"{PEER}:now")
    bench = Bench(engine, root, Settings(), peer, [])
    try:
        ensure_pinned(bench.project, bench.settings, report=silent)
        own(root)
        peer.prepare(Path(find_uv(os.environ)))
        # The package caches of both are warm from here on.
        bench.ours()
        peer.build()
        rows = [*against_peer(bench, turns), *squashfs_rows(bench)]
    finally:
        for tag in dict.fromkeys([*bench.tags, peer.tag, *peer.wheels]):
            engine.docker("image", "rm", "--force", tag, check=False)
    name = f"images-{which}" + ("-light" if light else "")
    measure.report(name, rows, ["both with warm package caches; cold: no cached step"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=sorted(ENGINES), default="modern")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--light", action="store_true")
    options = parser.parse_args()
    try:
        started = start(options.engine)
    except RuntimeError as error:
        print(f"images: not measured: {error}")
        return
    try:
        with tempfile.TemporaryDirectory(prefix="perdure-images-") as name:
            # An ordinary user's project is in there.
            Path(name).chmod(0o755)
            compare(options.engine, Path(name), options.turns, light=options.light)
    finally:
        if started:
            stop(options.engine)


if __name__ == "__main__":
    main()
