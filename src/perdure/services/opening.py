"""Services opened and stopped: started where there is none yet, else found; reached from here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from perdure.errors import ConflictError
from perdure.jobs.workspace import Workspace, make_state_folder
from perdure.model.job import Resources
from perdure.model.report import Report
from perdure.services import files, forwards, jupyter, tensorboard
from perdure.services.code import keep_code, leave_code
from perdure.services.program import DEFAULT, Limits, Program, id_of, ports_of, spec_of
from perdure.services.side import desk, record
from perdure.services.side.request import with_token
from perdure.services.spot import Spot, find_spot
from perdure.targets.registry import open_target

# A program that starts takes longer than one call is given.
_START_S = 200.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a user asks for: a service by its name, on a target. `port` is this machine's, 0: any.

    `writable` is for files, `variant` and `gpus` (in a container) for jupyter's kernel.
    """

    name: str
    target: str
    port: int = 0
    limits: Limits = DEFAULT
    writable: bool = False
    variant: str | None = None
    gpus: str | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """A service that is reached from here: `begun` now, or found running.

    `taken` is the port that it would have had, were that not in use; 0 where it has it.
    """

    name: str
    target: str
    port: int
    path: str
    token: str
    begun: bool
    taken: int = 0

    def at(self, path: str) -> Opened:
        """Return the same service, with another page of it to begin with."""
        return replace(self, path=path)

    @property
    def address(self) -> str:
        """Return the address that lets a browser in: a secret."""
        return f"http://127.0.0.1:{self.port}{with_token(self.path, self.token)}"


def open_service(workspace: Workspace, wanted: Wanted, report: Report) -> Opened:
    """Return a service that runs and is reached from here. Touches disk and network.

    Raises:
        ConflictError: the port asked for is in use, or it runs already and is another one.
        EnvironmentFailed: it cannot be installed, or does not start.
        HostUnreachable: the target's host does not answer.
        StorageError: no space there, or a folder that cannot be written.
        UsageError: there is no such target, or its cluster has not what is asked for.
    """
    spot = find_spot(workspace, wanted.target)
    if spot.in_pod:
        # Before a pod is started to look into.
        _require_room(workspace, wanted)
    make_state_folder(workspace.project)
    identity = id_of(str(workspace.project.root), wanted.target, wanted.name)
    ports = ports_of(identity)
    stands = _found(spot, wanted.name)
    if stands is None:
        if wanted.port and not desk.is_free(wanted.port):
            # Before anything is installed.
            raise desk.in_use(wanted.port)
        if not spot.in_pod:
            _require_room(workspace, wanted)
        with spot.place.writing():
            stands = _start(spot, wanted, identity, ports, report)
    else:
        _refuse_another(spot, wanted, stands)
    port = forwards.reach(spot, wanted, stands, identity, ports, report)
    return Opened(
        name=wanted.name,
        target=wanted.target,
        port=port,
        path=stands["path"],
        token=stands["token"],
        begun=not stands.get("found", True),
        taken=0 if port in (ports[0], wanted.port) else ports[0],
    )


def stop_service(workspace: Workspace, name: str, target: str) -> bool:
    """Return whether there was such a service; nothing of it is left.

    Raises:
        HostUnreachable: the target's host does not answer.
        TimeoutExpired: it does not end.
    """
    forwards.stop(workspace.project, target, name)
    spot = find_spot(workspace, target)
    running = {each["name"]: each for each in spot.host.call(desk.look, spot.root)}
    stopped = spot.host.call_long(desk.stop, spot.root, name, timeout_s=_START_S)
    own = running.get(name, {}).get("said", {}).get("destination")
    if own:
        from perdure.hosts.pod import Pod

        Pod(spot.name, own, spot.root).disconnect()
    leave_code(workspace.project, target, name)
    forwards.forget(workspace.project, target, name)
    return stopped


def _found(spot: Spot, name: str) -> dict[str, Any] | None:
    """Return what runs there of that name already, None where nothing does."""
    with spot.place.writing():
        return next((s for s in spot.host.call(desk.look, spot.root) if s["name"] == name), None)


def _require_room(workspace: Workspace, wanted: Wanted) -> None:
    """Return if a cluster could ever give a service a node; asked before anything is installed.

    Raises:
        UsageError: no such partition or namespace, or more GPUs than any node has.
        EnvironmentFailed: the cluster does not answer.
    """
    settings = workspace.settings.targets.get(wanted.target)
    if settings is None or not (settings.slurm or settings.kubernetes):
        return
    gpus: int | Literal["all"] = "all" if wanted.gpus == "all" else int(wanted.gpus or 0)
    target = open_target(wanted.target, workspace.project, workspace.settings)
    target.require(Resources(gpus=gpus))


def _start(
    spot: Spot, wanted: Wanted, identity: str, ports: list[int], report: Report
) -> dict[str, Any]:
    program = _prepare(spot, wanted, report)
    where = "" if spot.place.is_here else f" on `{wanted.target}`"
    report(f"starting {wanted.name}{where}")
    here = spot.place.is_here
    spec = spec_of(wanted.name, identity, program, wanted.limits)
    # Where it is elsewhere, this machine's port is the forward's.
    spec["said"] = {**spec["said"], "target": wanted.target}
    spec |= {"port": wanted.port if here else 0, "ports": ports if here else []}
    given = (spot.root, wanted.name, spec, spot.bring_program())
    host = spot.host
    if spot.in_pod and wanted.name == jupyter.NAME:
        from perdure.services.pods import pod_for

        host = pod_for(spot, wanted.gpus)
        spec["said"]["destination"] = host.destination
    return host.call_long(desk.start, *given, timeout_s=_START_S)


def _prepare(spot: Spot, wanted: Wanted, report: Report) -> Program:
    prepared: dict[str, Callable[[], Program]] = {
        jupyter.NAME: lambda: _prepare_jupyter(spot, wanted, report),
        tensorboard.NAME: lambda: tensorboard.prepare(spot, report),
        files.NAME: lambda: files.prepare(spot, report, writable=wanted.writable),
    }
    program = prepared[wanted.name]()
    target = spot.workspace.settings.targets.get(spot.name)
    if target is None or target.kind != "slurm":
        return program
    from perdure.model.settings import SlurmSettings
    from perdure.services.cluster import on_node

    log = f"{spot.services}/{wanted.name}/{record.LOG}"
    settings = target.slurm or SlurmSettings()
    return on_node(program, settings, modules=spot.program, log=log, gpus=wanted.gpus)


def _prepare_jupyter(spot: Spot, wanted: Wanted, report: Report) -> Program:
    keep_code(spot, wanted.name, report)
    if spot.in_image:
        from perdure.services import contained

        return contained.prepare(spot, wanted.variant, wanted.gpus, report)
    return jupyter.prepare(spot, wanted.variant, report)


def _refuse_another(spot: Spot, wanted: Wanted, stands: dict[str, Any]) -> None:
    """Raise where what runs already is not what is asked for."""
    stop = f"perdure {wanted.name} --stop" + ("" if spot.place.is_here else f" --on {spot.name}")
    where = stands["said"].get("target", wanted.target)
    if wanted.name == jupyter.NAME and where != wanted.target:
        # One folder, two targets: this machine's processes and its containers.
        raise ConflictError(f"{wanted.name} runs already, on `{where}`", hint=stop)
    if wanted.writable and not stands["said"].get("writable"):
        raise ConflictError("the files are served to be read only", hint=stop)
    if wanted.port and spot.place.is_here and stands["port"] != wanted.port:
        raise ConflictError(
            f"{wanted.name} runs already, on port {stands['port']}", hint=f"{stop}, then again"
        )
