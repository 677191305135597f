"""Another host, step by step: whether ssh gets through, and what is there of what perdure needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from perdure.doctor.disk import GIB, judge_room, judge_watches
from perdure.doctor.finding import Finding, fine, problem, warning
from perdure.errors import EngineUnreachable, MissingProgram, NoPython, PerdureError
from perdure.hosts import local
from perdure.hosts.engine_there import engine_there
from perdure.hosts.host import HostFacts
from perdure.hosts.limited import Limited
from perdure.hosts.side.sockets import find_socket
from perdure.hosts.ssh import PROGRAM, Ssh
from perdure.hosts.within import is_lent, python_there
from perdure.model.report import Report, silent
from perdure.model.settings import TargetSettings

ASK_S = 20.0
LIMIT_S = 90.0
SKEW_S = 2.0
#: A code folder and an environment with torch take about as much.
ROOM_GIB = (2.0, 10.0)
FAR_S = 0.25

# What any POSIX shell can say of a host: `key=value` lines. `$1` is the folder of projects.
LOOK = """\
folder=$1
case $folder in "~/"*) folder=$HOME/${folder#"~/"};; esac
echo "folder=$folder"
while [ ! -d "$folder" ] && [ "$folder" != / ]; do folder=$(dirname -- "$folder"); done
echo "there=$folder"
if [ -w "$folder" ]; then echo writable=yes; else echo writable=no; fi
echo "free=$(df -Pk -- "$folder" 2>/dev/null | tail -n 1 | awk '{print $4}')"
echo "files=$(df -Pi -- "$folder" 2>/dev/null | tail -n 1 | awk '$2 > 0 {print $4}')"
for each in watches instances; do
  echo "$each=$(cat /proc/sys/fs/inotify/max_user_$each 2>/dev/null)"
done
for each in docker podman uv git rsync python3; do
  echo "$each=$(command -v $each 2>/dev/null)"
done
echo "groups=$(id -Gn)"
"""


@dataclass(frozen=True, slots=True)
class Looked:
    """What was seen of a host; `facts` is None where it has no Python to say more.

    `lent`: the Python that said it is that of an image.
    """

    host: Ssh
    target: TargetSettings
    said: Mapping[str, str]
    facts: HostFacts | None
    lent: bool = False


def examine_host(
    name: str, target: TargetSettings, *, report: Report = silent
) -> tuple[Finding, ...]:
    """Return what is found of a target's host, in the order in which one thing needs another.

    Touches the network; changes nothing there. A person may be asked for a password.
    """
    host = Ssh(name, target.host, target.root)
    try:
        where = resolved(host)
        report(f"connecting to {where}")
        host.connect()
    except PerdureError as error:
        return (problem("ssh", error.message, error.hint or f"ssh {target.host}"),)
    report(f"looking at `{name}`")
    looking = Limited(partial(_findings, host, target, where), name)
    try:
        found = looking.answer(LIMIT_S)
    except PerdureError as error:
        return (problem("ssh", error.message, error.hint or "try again"),)
    return found or (problem("ssh", f"no answer within {LIMIT_S:g} s", f"ssh {target.host}"),)


def resolved(host: Ssh) -> str:
    """Return where ssh would go, by its own configuration, such as `me@10.0.0.7 port 22`.

    Raises:
        MissingProgram: there is no ssh here.
    """
    done = local.run([PROGRAM, "-G", "--", host.destination], timeout_s=ASK_S)
    pairs = (line.partition(" ") for line in done.text.splitlines())
    known = {key: value for key, _, value in pairs if key in ("user", "hostname", "port")}
    if len(known) < 3:
        return host.destination
    return f"{known['user']}@{known['hostname']} port {known['port']}"


def _findings(host: Ssh, target: TargetSettings, where: str) -> tuple[Finding, ...]:
    # Plainly: what a lent Python would see is the container it runs in.
    done = host.run_plainly(["sh", "-c", LOOK, "sh", target.root], ASK_S, {}, None, None)
    pairs = (line.partition("=") for line in done.text.splitlines())
    said = {key: value for key, _, value in pairs}
    try:
        facts: HostFacts | None = host.probe()
    except NoPython:
        facts = None
    lent = facts is not None and is_lent(python_there(host))
    looked = Looked(host, target, said, facts, lent)
    reached = where if facts is None else f"{where}, {facts.round_trip_s * 1000:.0f} ms away"
    probes = (machine, python, engine, gpus, room, watches, clock, programs)
    return (fine("ssh", reached), *(found for probe in probes for found in probe(looked)))


def machine(looked: Looked) -> Iterator[Finding]:
    """Yield what the host is."""
    facts = looked.facts
    if facts is None:
        return
    memory = f"{facts.memory_bytes / GIB:.0f} GiB"
    yield fine("machine", f"{facts.system}, {facts.cores} cores, {memory}, as `{facts.user}`")
    if facts.round_trip_s > FAR_S:
        told = f"an answer takes {facts.round_trip_s * 1000:.0f} ms"
        yield warning("round trip", told, "every command waits for it; is a VPN in between?")


def python(looked: Looked) -> Iterator[Finding]:
    """Yield which Python the host has: without one, it runs containers only."""
    remedy = "install Python 3.9 or newer there: jobs outside of containers"
    if looked.facts is not None and looked.lent:
        told = f"there is none; {looked.facts.python} of an image is lent to it"
        yield warning("python", told, remedy)
        return
    if looked.facts is not None:
        yield fine("python", looked.facts.python)
        return
    program = looked.said.get("python3")
    told = f"`{program}` is older than 3.9" if program else "there is none"
    yield warning("python", told, remedy)


def engine(looked: Looked) -> Iterator[Finding]:
    """Yield which container engine answers there, and whether this user may use it."""
    if looked.target.engine == "slurm":
        return  # told apart: perdure.doctor.cluster
    if looked.target.engine == "process":
        yield fine("engine", 'none is asked for: `engine = "process"`')
        return
    wanted = looked.target.engine == "docker"
    try:
        wanted = wanted or looked.host.call(find_socket)["path"] is not None
        engine_there(looked.host)
        client = "answers; it has no client there, and needs none"
        yield fine("engine", _version(looked) or client)
    except EngineUnreachable as error:
        # Without one, jobs are processes there; one that does not let this user in is a mistake.
        make = problem if wanted else warning
        yield make("engine", error.message, error.hint or "install Docker there")
    except NoPython:
        answer = _version(looked)
        told = "no `docker` and no `podman` that answers"
        yield fine("engine", answer) if answer else problem("engine", told, "install Docker there")


def gpus(looked: Looked) -> Iterator[Finding]:
    """Yield the host's GPUs."""
    if looked.facts is not None:
        yield fine("gpu", "; ".join(looked.facts.gpus) or "none that `nvidia-smi` shows")


def room(looked: Looked) -> Iterator[Finding]:
    """Yield whether there is a place for projects, and how much room it has."""
    folder, there = looked.said.get("folder", ""), looked.said.get("there", "")
    if looked.said.get("writable") != "yes":
        told = f"`{folder}` cannot be made: `{there}` is not yours to write to"
        remedy = (
            f'`root = "..."` under `[targets.{looked.host.name}]`: a folder that is yours there'
        )
        yield problem("folder", told, remedy)
        return
    free, files = looked.said.get("free", ""), looked.said.get("files", "")
    if free.isdigit():
        inodes = int(files) if files.isdigit() else None
        yield judge_room("disk", f"`{folder}`", int(free) * 1024, inodes, ROOM_GIB)


def watches(looked: Looked) -> Iterator[Finding]:
    """Yield Linux's limits for watching files, which live sync of notebooks back needs."""
    numbers = [looked.said.get(each, "") for each in ("watches", "instances")]
    most, instances = (int(each) if each.isdigit() else None for each in numbers)
    yield judge_watches(most, instances)


def clock(looked: Looked) -> Iterator[Finding]:
    """Yield whether the clocks agree: perdure copes, and people who compare logs do not."""
    if looked.facts is None:
        return
    ahead = looked.facts.clock_ahead_s
    if abs(ahead) <= SKEW_S + looked.facts.round_trip_s:
        yield fine("clock", f"within {max(abs(ahead), 0.001):.3f} s of this machine's")
        return
    told = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine's"
    yield warning("clock", told, "let both keep time (NTP): times of files and logs mislead")


def programs(looked: Looked) -> Iterator[Finding]:
    """Yield what else is used where it is there; perdure brings what it needs."""
    has = [name for name in ("uv", "git", "rsync") if looked.said.get(name)]
    lacks = [name for name in ("uv", "git", "rsync") if not looked.said.get(name)]
    told = f"{', '.join(has) or 'none of them'} there"
    if lacks:
        told += f"; {', '.join(lacks)} not, and not needed: perdure brings what it uses"
    yield fine("programs", told)


def _version(looked: Looked) -> str:
    """Return what the engine's client there says of it, "" where there is none or no answer."""
    for program in ("docker", "podman"):
        try:
            words = [program, "version", "--format", "{{.Server.Version}}"]
            done = looked.host.run(words, timeout_s=ASK_S)
        except MissingProgram:
            continue
        if done.returncode == 0 and done.text:
            return f"{program} {done.text}"
    return ""
