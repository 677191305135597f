"""A project whose build backend has to run, installed in its container: compiled, or dynamic.

Any other is installed in the image already, without its code.
"""

from __future__ import annotations

from perdure.development.mirrors import with_machine
from perdure.development.standing import Session
from perdure.environments.resolve import read_manifest
from perdure.errors import TimeoutExpired
from perdure.images.mounts import CODE
from perdure.model.report import Report
from perdure.project.distribution import distribution_of

INSTALL_S = 1800.0
INSTALL = "uv pip install --no-deps --editable ."

# With what is there if that does, else with what the index has: the backend, and what it asks for.
_SCRIPT = f"""\
here='import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)'
if python -c "$here" "$1" && {INSTALL} --no-build-isolation > /dev/null 2>&1; then exit; fi
exec {INSTALL}
"""


def install_itself(session: Session, *, report: Report) -> None:
    """Have the project's build backend install it in the running container, as its user.

    Nothing is done where none has to run. Where it cannot, that is told and is no error: the
    project's modules can be imported all the same. Takes half an hour at most.
    """
    project = session.project
    backend = distribution_of(read_manifest(project).document, project.root).backend
    if backend is None:
        return
    report(f"installing the project with its build backend `{backend}`")
    module = backend.partition(":")[0].partition(".")[0]
    command = with_machine(("sh", "-c", _SCRIPT, "sh", module))
    words = ("exec", "--workdir", CODE, session.container, *command)
    try:
        done = session.engine.run(words, timeout_s=INSTALL_S)
    except TimeoutExpired as error:
        said = error.message
    else:
        if done.returncode == 0:
            return
        said = done.complaint or done.text
    report(
        f"warning: the project can be imported, and is not installed: `{backend}` did not run\n"
        f"{said}\nwhat is missing may be a package of the group `dev`, a compiler in `apt.dev`, or "
        f"an index that can be reached (`perdure up --mirrors`); then: perdure shell -- {INSTALL}"
    )
