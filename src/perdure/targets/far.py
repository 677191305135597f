"""What a target of another host does there: the adapters of this package, opened on that host.

Each function is called over a connection: values of JSON in, values of JSON out. `there` is what
the adapter is opened with: `perdure.targets.station`.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from perdure.errors import EnvironmentFailed
from perdure.hosts import local
from perdure.hosts.engine_socket import LOCAL
from perdure.model.image import ImageUser
from perdure.model.job import Resources
from perdure.model.job_values import event_of, job_of
from perdure.model.project import Project
from perdure.model.settings import Settings, SlurmSettings
from perdure.targets import lasting, supervisor
from perdure.targets.process import Process
from perdure.targets.protocol import Aside, Confirmation, Errand, Handle, Notice, Plan, Target

DOCKER, PROCESS, SLURM = "docker", "process", "slurm"
_ASK_S = 10.0

Values = dict[str, Any]


def settle(base: str, name: str, engine: str | None) -> Values:
    """Return where a project of that name lies below `base`, and by what its jobs are run."""
    root = Path(base).expanduser() / name
    return {"root": os.fspath(root.absolute()), "engine": engine or _engine()}


def probe(there: Values) -> Values:
    """Return what the target says of itself."""
    found = _open(there).probe()
    return {"summary": found.summary, "problem": found.problem, "hint": found.hint}


def require(there: Values, resources: Values, grace_s: float = 0.0) -> None:
    """Return if the target can run jobs with these; raises as `Target.require`."""
    try:
        _open(there).require(Resources(**resources), grace_s)
    except EnvironmentFailed as error:
        # What is advised on one's own machine is to leave it as it is here.
        error.hint = (error.hint or "").replace(LOCAL, '`engine = "process"` for this target')
        raise


def plan(there: Values, job: Values, commands: dict[str, str]) -> Values:
    """Return the plan of a job. `commands` are those of the project, as Python."""
    return plan_values(_open(there, commands).plan(job_of(job)))


def verify(there: Values, planned: Values) -> None:
    """Return if the training's command is there; raises as `Target.verify`."""
    _open(there).verify(plan_of(planned))


def submit(there: Values, planned: Values, key: str) -> Values:
    """Return the process id of the supervisor that was started: `pid`.

    `lacking`: the supervisor's sources are not there, and nothing was started.
    """
    if there["engine"] != DOCKER and not has_supervisor(there):
        return {"pid": None, "lacking": True}
    return {"pid": _open(there).submit(plan_of(planned), key).pid, "lacking": False}


def has_supervisor(there: Values) -> bool:
    """Return whether the supervisor's sources are there."""
    return _main(there).is_file()


def poll(run_dirs: Sequence[str]) -> list[str]:
    """Return of each run folder whether its job goes on: a value of `Presence`."""
    from perdure.targets.supervision import presence_in

    return [presence_in(Path(each)).value for each in run_dirs]


def logs(there: Values, run_dir: str) -> bytes:
    """Return what a job has written so far."""
    return _open(there).logs(_handle(run_dir))


def aside(
    there: Values, job: Values, commands: dict[str, str], argv: Sequence[str], terminal: bool
) -> Values:
    """Return the command that runs one beside the job, with all of its environment."""
    found = cast(Any, _open(there, commands)).aside(job_of(job), tuple(argv), terminal=terminal)
    assert isinstance(found, Aside)
    words = {"argv": list(found.argv), "cwd": found.cwd}
    return {**words, "environment": _changed(found.environment)}


def begin(
    there: Values, job: Values, argv: Sequence[str], stdin: bytes, timeout_s: float, folder: str
) -> None:
    """Begin a command in the job's folder and environment, which lasts longer than the connection.

    It is heard and ended by its folder, and begun once; see `perdure.targets.lasting`.
    """
    path = Path(folder)
    errand = cast(Any, _open(there, {})).errand(job_of(job), tuple(argv), path.name)
    assert isinstance(errand, Errand)
    lasting.begin(path, errand, stdin, timeout_s)


def seen(there: Values, job: Values, path: str) -> str:
    """Return what a path of the host is called where the job runs."""
    return _open(there).seen(job_of(job), Path(path))


def forward(there: Values, run_dir: str, port: int) -> int:
    """Return the port of the host's loopback that reaches one of the job's."""
    return _open(there).forward(_handle(run_dir), port)


def interrupt(there: Values, run_dir: str, reason: str, left_s: float | None) -> None:
    """Pass on a notice. The deadline is by the host's own clock, whatever that says."""
    deadline = None if left_s is None else time.time() + left_s
    _open(there).interrupt(_handle(run_dir), Notice(reason, deadline))


def cancel(there: Values, run_dir: str, timeout_s: float) -> Confirmation:
    """Kill a job, and return whether it was seen to be gone."""
    return _open(there).cancel(_handle(run_dir), timeout_s)


def signal(there: Values, run_dir: str, pid: int, number: int) -> None:
    """Send a signal to a process of a job."""
    _open(there).signal(_handle(run_dir), pid, number)


def sweep(there: Values, run_dir: str, events: Sequence[Values], grace_s: float) -> int:
    """Return how many processes were left of a job whose supervisor is gone."""
    known = [event_of(each) for each in events]
    return _open(there).sweep(_handle(run_dir), known, grace_s=grace_s)


def listed(there: Values, what: str) -> list[Values]:
    """Return the `queue` or the `capacity` of a cluster; see `slurm_listing`."""
    from perdure.targets.slurm_listing import LISTS

    return LISTS[what](_slurm_settings(there))


def node(there: Values) -> dict[str, str]:
    """Return what a node of a cluster has that runs images: `slurm_apptainer.look`."""
    from perdure.targets.slurm_apptainer import look

    return look(_slurm_settings(there))


def open_there(there: Values, commands: dict[str, str] | None = None) -> Target:
    """Return the target, opened on this host. `commands` are those of the project, as Python."""
    return _open(there, commands)


def plan_values(planned: Plan) -> Values:
    """Return a plan as values; `plan_of` reads them. Pure."""
    owner = planned.owner
    return {
        "key": planned.key,
        "run_dir": os.fspath(planned.run_dir),
        "cwd": os.fspath(planned.cwd),
        "argv": list(planned.argv),
        "environment": dict(planned.environment),
        "command": list(planned.command),
        "owner": None if owner is None else [owner.user_id, owner.group_id],
        "script": planned.script,
    }


def plan_of(values: Values) -> Plan:
    """Return the plan of `plan_values`. Pure."""
    owner = values["owner"]
    return Plan(
        values["key"],
        Path(values["run_dir"]),
        Path(values["cwd"]),
        tuple(values["argv"]),
        values["environment"],
        tuple(values["command"]),
        None if owner is None else ImageUser(*owner),
        values["script"],
    )


def _open(there: Values, commands: dict[str, str] | None = None) -> Target:
    root = Path(there["root"])
    project = Project(root, root.name, "", {})
    if there["engine"] == DOCKER:
        from perdure.targets.container import Container, half_of_memory

        environ = dict(os.environ)
        return Container(project, Settings(), environ, half_of_memory(), returns=True)
    if there["engine"] == SLURM:
        return _slurm(there, project, commands or {})
    return replace(
        Process(project.root, project.state, dict(os.environ), python=sys.executable),
        supervisor=_main(there),
        known_commands=commands or {},
    )


def _slurm(there: Values, project: Project, commands: dict[str, str]) -> Target:
    from perdure.targets.slurm import Slurm

    return Slurm(
        there["name"],
        project.root,
        project.state,
        dict(os.environ),
        _slurm_settings(there),
        sys.executable,
        _main(there),
        known_commands=commands,
    )


def _slurm_settings(there: Values) -> SlurmSettings:
    lists = {name: tuple(there["settings"].get(name, ())) for name in ("lines", "modules")}
    return SlurmSettings(**{**there["settings"], **lists})


def _main(there: Values) -> Path:
    return supervisor.folder(there["root"], there["supervisor"]) / supervisor.MAIN


def _handle(run_dir: str) -> Handle:
    path = Path(run_dir)
    return Handle("", path.name, path)


def _changed(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what of an environment a session of this user does not have by itself."""
    return {name: each for name, each in environment.items() if os.environ.get(name) != each}


def _engine() -> str:
    """Return what runs jobs here: docker, where it answers."""
    program = shutil.which("docker")
    if program is None:
        return PROCESS
    try:
        words = [program, "version", "--format", "{{.Server.Version}}"]
        answer = local.run(words, timeout_s=_ASK_S)
    except Exception:  # noqa: BLE001 - whatever is wrong with it: it does not answer
        return PROCESS
    return DOCKER if answer.returncode == 0 and answer.text else PROCESS
