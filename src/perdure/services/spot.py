"""Where services of a project run: its place on a host, and the tools that they need there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from perdure.environments.elsewhere import uv_on
from perdure.hosts.host import Host
from perdure.hosts.side import modules
from perdure.jobs.workspace import Workspace
from perdure.model.report import Report
from perdure.services import requirement
from perdure.services.side import desk, record, tools
from perdure.targets.cluster import image_of, is_slurm
from perdure.targets.place import Place
from perdure.targets.registry import open_target

_INSTALL_S = 1800.0


@dataclass(frozen=True, slots=True)
class Spot:
    """A target as services see it: `name` is the target's. `in_pod`: its host is a pod."""

    workspace: Workspace
    name: str
    place: Place
    in_image: bool
    in_pod: bool = False

    @property
    def host(self) -> Host:
        """Return the host."""
        return self.place.host

    @property
    def root(self) -> str:
        """Return the project's folder there."""
        return self.place.root

    @property
    def services(self) -> str:
        """Return the folder of services there. Pure."""
        return f"{self.root}/{record.SERVICES}"

    @property
    def program(self) -> str:
        """Return where perdure's own modules lie there, once they are brought. Pure."""
        return str(desk.program_path(self.root, modules.digest()))

    def bring_program(self) -> str:
        """Return the digest of perdure's own modules, which lie there then."""
        digest = modules.digest()
        if not self.host.call(desk.has_program, self.root, digest):
            self.host.call(desk.bring_program, self.root, digest, modules.archive())
        return digest

    def tools(
        self, tool: str, report: Report, *, python: str | None = None, version: str = ""
    ) -> str:
        """Return the folder of a tool there, installed if it is not.

        With a `version` of Python the tool is for that one: `python` there, or that of an image.

        Raises:
            EnvironmentFailed: it cannot be installed.
        """
        kind = f"{version}-image" if version and python is None else version
        name = requirement.folder_name(tool, kind)
        if not self.host.call(tools.installed, self.root, name):
            where = "" if self.place.is_here else f" on `{self.host.name}`"
            report(f"installing {tool}{where}: once for this project")
            uv = uv_on(self.host, self.root, report)
            wanted = {"requirements": requirement.text_of(tool)}
            if version:
                wanted |= {"version": version} if python is None else {"python": python}
            given: tuple[Any, ...] = (self.root, name, uv, wanted)
            self.host.call_long(tools.install, *given, timeout_s=_INSTALL_S, on_line=report)
        return f"{self.services}/tools/{name}"


def find_spot(workspace: Workspace, target: str) -> Spot:
    """Return a target of the project as services see it; may ask the host.

    Raises:
        UsageError: there is no such target.
        HostUnreachable: it does not answer.
    """
    found = open_target(target, workspace.project, workspace.settings)
    image = image_of(found)
    # In a pod the image is what is around: nothing is started in another one. The nodes of a Slurm
    # have no engine that would start it.
    contained = found.in_image and image is None and not is_slurm(found)
    return Spot(workspace, target, found.place, contained, image is not None)
