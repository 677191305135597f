"""Gathers what the benchmarks measured into results.json, which table.py puts into the README.

Run after `scripts/benchmark`: each claim is a row of a file in benchmarks/results/, with its limit
and its peers from the same run. `--keep`: what other machines measured stays where this did not.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"


@dataclass(frozen=True, slots=True)
class Claim:
    """One line of the README's table: which rows of which file it is made of."""

    text: str
    file: str
    row: str
    limit: str
    peers: tuple[tuple[str, str], ...] = ()


SYNCS = ("rsync of the files saved", "unison", "lsyncd")

CLAIMS = (
    Claim(
        "checkpoint of 1 GiB: how long the training waits",
        "checkpoint",
        "perdure: stall",
        "memcpy, array by array, warm",
        (
            ("torch.save + fsync", "torch.save + fsync: stall"),
            ("safetensors + fsync", "safetensors + fsync: stall"),
            ("DCP async", "dcp async: stall"),
            ("DCP async, stager reused", "dcp async, reused: stall"),
        ),
    ),
    Claim(
        "... the same wait, against one memcpy in one piece",
        "checkpoint",
        "perdure: stall, to one piece",
        "memcpy, one piece, warm",
    ),
    Claim(
        "... how long until it is durable",
        "checkpoint",
        "perdure: durable",
        "raw O_DIRECT write + fsync",
        (
            ("torch.save + fsync", "torch.save + fsync: durable"),
            ("safetensors + fsync", "safetensors + fsync: durable"),
            ("DCP async", "dcp async: durable"),
            ("DCP async, stager reused", "dcp async, reused: durable"),
        ),
    ),
    Claim(
        "restore of 1 GiB, verified and loaded (ratio of speeds)",
        "restore",
        "perdure: restore, verified and loaded",
        "cold read of the file, O_DIRECT, warm memory",
    ),
    Claim(
        "training with the tuned interval, over one interval",
        "overhead",
        "training with the tuned interval, to without",
        "",
    ),
    Claim("`perdure --help`", "startup", "perdure --help", "python -c pass"),
    Claim(
        "`perdure ps` of 10,000 jobs, beyond `--help`", "startup", "  over --help, to 100 ms", ""
    ),
    Claim("`import perdure`, beyond bare Python", "startup", "  over bare Python, to 10 ms", ""),
    Claim(
        "image, cold (ratio of speeds)",
        "images-modern",
        "perdure: cold",
        "uv's Dockerfile: cold",
    ),
    Claim(
        "... nothing changed, beyond the engine's own answer",
        "images-modern",
        "  beyond the engine's answer, to 100 ms",
        "",
        (("uv's Dockerfile", "uv's Dockerfile: no change"),),
    ),
    Claim(
        "... code only",
        "images-modern",
        "  to 1 s",
        "",
        (("uv's Dockerfile", "uv's Dockerfile: code only"),),
    ),
    Claim(
        "... one more pip dependency (ratio of speeds)",
        "images-modern",
        "perdure: one dependency more",
        "uv's Dockerfile: one dependency more",
    ),
    Claim("... the same, to 3 s", "images-modern", "  to 3 s", ""),
    Claim(
        "... to ship after it, to 1 % of the image",
        "images-modern",
        "perdure: to ship after it",
        "perdure: the whole image",
        (("uv's Dockerfile", "uv's Dockerfile: to ship after it"),),
    ),
    Claim("... squashfs, to 20 s/GB", "images-modern", "  for each GB, to 20 s", ""),
    Claim(
        "live sync at a round trip of 20 ms: a save until it is seen there, to 25 ms",
        "sync",
        "perdure: save to visible, 20 ms round trip",
        "",
        tuple((name, f"{name}: save to visible, 20 ms round trip") for name in SYNCS),
    ),
    Claim(
        "... 10,000 files for the first time",
        "sync",
        "perdure: 10000 files, first copy",
        "rsync: 10000 files, first copy",
        tuple((name, f"{name}: 10000 files, first copy") for name in SYNCS[1:]),
    ),
    Claim(
        "... a checkout that changed 3,000 files: until all are there, to 2 s",
        "sync",
        "perdure: 3000 files changed at once",
        "",
        tuple((name, f"{name}: 3000 files changed at once") for name in SYNCS),
    ),
    Claim(
        "... a new session that finds nothing changed, to 1 s",
        "sync",
        "perdure: a new session, nothing changed",
        "",
    ),
    Claim(
        "... idle, both ends, to 1.5 % of a core", "sync", "perdure: idle, both ends, of a core", ""
    ),
    Claim(
        "`perdure ps` for a job at a round trip of 20 ms, beyond one here, to 30 ms",
        "sync",
        "  beyond the one here, 20 ms round trip",
        "",
    ),
    Claim(
        "push of 1 GB to a host (ratio of speeds)",
        "moving",
        "perdure push: 1 GB",
        "the link: cat through ssh, 1 GB",
        (("rsync -a", "rsync -a: 1 GB"),),
    ),
    Claim(
        "sweep of 1,000 no-op jobs, with run folders, events, retries",
        "sweep",
        "perdure sweep: 1000 no-ops",
        "joblib threads: 1000 no-ops",
        (
            ("xargs", "xargs: 1000 no-ops"),
            ("GNU parallel", "GNU parallel: 1000 no-ops"),
            ("Ray", "Ray tasks: 1000 no-ops"),
            ("submitit local", "submitit local: 1000 no-ops"),
        ),
    ),
    Claim(
        "... the same on Slurm, as job arrays",
        "sweep",
        "perdure sweep on Slurm: 1000 no-ops",
        "bare sbatch array: 1000 no-ops",
        (("submitit", "submitit on Slurm: 1000 no-ops"),),
    ),
    Claim(
        "one job on Slurm as it schedules by default, from the command to its first line (ratio of "
        "medians)",
        "sweep",
        "perdure run on Slurm: submit to start",
        "bare sbatch: submit to start",
    ),
    Claim(
        "... on a Slurm that looks at its queue twice a second",
        "sweep",
        "perdure run on Slurm: submit to start, scheduled twice a second",
        "bare sbatch: submit to start, scheduled twice a second",
    ),
    Claim("the memory of a driver of 1,000 jobs, to 100 MB", "sweep", "the driver's memory", ""),
    Claim(
        "`perdure sweep status` of 10,000 jobs, to 300 ms",
        "sweep",
        "  perdure sweep status, 10000 jobs, to 300 ms",
        "",
    ),
    Claim("... `perdure ps`", "sweep", "  perdure ps, 10000 jobs, to 300 ms", ""),
    Claim(
        "... `perdure sweep status` where 5,000 of them wait in Slurm's queue",
        "sweep",
        "  perdure sweep status, 5000 of 10000 queued on Slurm, to 300 ms",
        "",
    ),
    Claim(
        "... `perdure ps`, so",
        "sweep",
        "  perdure ps, 5000 of 10000 queued on Slurm, to 300 ms",
        "",
    ),
    Claim("Optuna's share of a trial, to 5 ms", "sweep", "  to 5 ms", ""),
    Claim(
        "spot: 100 MiB of state, from a notice's being heard until it is in the bucket",
        "spot",
        "notice heard to durable, 100 MiB",
        "1 s + the link at 80 %",
    ),
    Claim(
        "... a replacement's program until its first new step, little state, to 5 s",
        "spot",
        "replacement: program to first new step, to 5 s",
        "",
    ),
    Claim(
        "... the same with 100 MiB",
        "spot",
        "... with 100 MiB",
        "5 s + the link at 80 %",
    ),
    Claim(
        "... a training beside uploads of 100 MiB, to one without (their processor time)",
        "spot",
        "training beside uploads of 100 MiB, to without",
        "",
    ),
    Claim(
        "... paid time that is useful at 11 preemptions a day, 90 s to begin again (played)",
        "spot",
        "perdure: useful share, worst region",
        "",
        (
            ("every 10 minutes", "every 10 minutes"),
            ("every 30 minutes", "every 30 minutes"),
        ),
    ),
)


def milliseconds(row: dict[str, object]) -> str:
    """Return a row's best and median time; what is no time in its own unit."""
    unit = str(row.get("unit", "s"))
    if unit != "s":
        return f"{float(str(row['best_s'])):.1f} {unit}"
    best, median = (float(str(row[key])) * 1e3 for key in ("best_s", "median_s"))
    return f"{best:.1f} ms" if f"{best:.1f}" == f"{median:.1f}" else f"{best:.0f} ({median:.0f}) ms"


def figure(claim: Claim, rows: dict[str, dict[str, object]]) -> dict[str, object]:
    """Return a claim as table.py takes it."""
    row = rows[claim.row]
    found: dict[str, object] = {"claim": claim.text, "ours": milliseconds(row)}
    if claim.limit:
        found["limit"] = f"{claim.limit}: {milliseconds(rows[claim.limit])}"
    found |= {key: row[key] for key in ("ratio", "at_most", "at_least") if row[key] is not None}
    if claim.peers:
        found["peers"] = "; ".join(
            f"{name} {milliseconds(rows[at])}" for name, at in claim.peers if at in rows
        )
    return found


def known_before(claim: Claim) -> list[dict[str, object]]:
    """Return a claim's figure as it is in results.json, [] where it is not. Reads the disk."""
    known = json.loads((HERE / "results.json").read_text())["figures"]
    return [each for each in known if each["claim"] == claim.text]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep what is not measured here")
    keep: bool = parser.parse_args().keep
    files = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
    rows = {name: {row["name"]: row for row in file["rows"]} for name, file in files.items()}
    newest = max(files.values(), key=lambda file: str(file["measured"]))
    torch = newest["versions"]["torch"]
    content = {
        "machine": f"{newest['machine']}, torch {torch}; best (median)",
        "measured": newest["measured"],
        # Not every machine has a container engine: what was not measured is not claimed.
        "figures": [
            found
            for claim in CLAIMS
            for found in (
                [figure(claim, rows[claim.file])]
                if claim.row in rows.get(claim.file, ())
                else known_before(claim)
                if keep
                else []
            )
        ],
    }
    text = json.dumps(content, indent=1) + "\n"
    (HERE / "results.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
