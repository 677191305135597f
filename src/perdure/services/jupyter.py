"""JupyterLab, with a kernel in the project's own environment, which stays as it is locked.

What the kernel needs beside it lies in a folder of its own, at the end of where Python looks: a
package of the project always wins.
"""

from __future__ import annotations

import json

from perdure.errors import UsageError
from perdure.jobs.environment import environment_for
from perdure.jobs.provenance import own_python
from perdure.model.job import EnvironmentUsed
from perdure.model.report import Report
from perdure.services.program import SOCKET, Program
from perdure.services.side import record, tools
from perdure.services.spot import Spot

NAME = "jupyter"
_KERNEL = "perdure"
_LAUNCH = (
    "import sys; beside = sys.argv.pop(1); "
    "sys.path[:] = [each for each in sys.path if each] + [beside] * bool(beside); "
    "from ipykernel.kernelapp import launch_new_instance; launch_new_instance()"
)
_SETTINGS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}
# What its pages ask for by themselves, again and again.
_QUIET = ("/api/", "/lab/api/")


def prepare(spot: Spot, variant: str | None, report: Report) -> Program:
    """Return JupyterLab for a spot, installed there with the project's environment.

    Raises:
        EnvironmentFailed: one of them cannot be had.
    """
    used = _environment(spot, variant, report)
    python = spot.host.call(tools.interpreter, used.prefix)
    beside = ""
    if not python["kernel"]:
        beside = spot.tools("kernel", report, python=python["path"], version=python["version"])
    lab = spot.tools(NAME, report)
    notebooks = spot.host.call(tools.has_folder, spot.root, "notebooks")
    title = spot.workspace.project.name + (f" ({used.variant})" if used.variant else "")
    kernel = kernel_spec(spot.root, used.prefix, python["path"], beside, title)
    return program(spot.root, f"{lab}/bin/python", kernel, start="notebooks" if notebooks else "")


def _environment(spot: Spot, variant: str | None, report: Report) -> EnvironmentUsed:
    """Return what notebooks run in: a pod has what its image has."""
    if not spot.in_pod:
        return environment_for(spot.workspace, variant, spot.place, report)
    if variant is not None:
        raise UsageError(
            f"`{spot.name}` runs in an image of your own: it has no variants",
            hint="leave out --variant",
        )
    return own_python()


def kernel_spec(
    root: str, prefix: str | None, python: str, beside: str, title: str
) -> dict[str, object]:
    """Return the kernel: the project's Python, with the working tree to import from. Pure."""
    variables = {"PYTHONPATH": f"{root}/src:{root}", "PYTHONUNBUFFERED": "1"}
    if prefix is not None:
        variables |= {"PATH": f"{prefix}/bin:${{PATH}}", "VIRTUAL_ENV": prefix}
    return {
        "argv": [python, "-c", _LAUNCH, beside, "-f", "{connection_file}"],
        "display_name": title,
        "language": "python",
        "env": variables,
        "metadata": {"debugger": True},
    }


def program(root: str, python: str, kernel: dict[str, object], *, start: str) -> Program:
    """Return the server's command, and the files it needs. Pure."""
    own = f"{root}/{record.SERVICES}/{NAME}"
    words = (f"--{name}={value}" for name, value in _options(root, start).items())
    return Program(
        argv=(python, "-I", "-m", "jupyterlab", "--no-browser", *words),
        cwd=root,
        environment={
            "JUPYTER_PATH": f"{own}/share",
            "JUPYTER_CONFIG_DIR": f"{own}/config",
            "JUPYTER_DATA_DIR": f"{own}/data",
            "JUPYTER_RUNTIME_DIR": f"{own}/runtime",
        },
        files={
            f"share/kernels/{_KERNEL}/kernel.json": json.dumps(kernel, indent=1) + "\n",
            "config/labconfig/default_setting_overrides.json": json.dumps(_SETTINGS) + "\n",
        },
        path=f"/lab/tree/{start}" if start else "/lab",
        quiet=_QUIET,
        busy="/api/kernels",
    )


def _options(root: str, start: str) -> dict[str, str]:
    return {
        "ServerApp.sock": SOCKET,
        "ServerApp.root_dir": root,
        "FileContentsManager.preferred_dir": f"{root}/{start}".rstrip("/"),
        "ServerApp.open_browser": "False",
        # The gate asks for the token; what is behind it only this user can reach.
        "IdentityProvider.token": "",
        "PasswordIdentityProvider.hashed_password": "",
        "ServerApp.allow_root": "True",
        "KernelSpecManager.ensure_native_kernel": "False",
        "KernelSpecManager.allowed_kernelspecs": _KERNEL,
        "MultiKernelManager.default_kernel_name": _KERNEL,
        "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        "LabApp.extension_manager": "readonly",
    }
