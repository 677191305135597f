"""What a node of a cluster has that runs images: Apptainer, and what it mounts them with.

Standard library only, Python 3.9 or newer: this is streamed to other hosts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perdure.model.job import UNLIMITED
from perdure.model.settings import SlurmSettings
from perdure.targets import slurm_script as scripts
from perdure.targets.slurm_queue import ask

#: So long a node is waited for; and then for what it says.
FREE_S = 10
ANSWER_S = 40.0
# What any POSIX shell can say: `key=value` lines. A setuid part mounts images without FUSE.
_LOOK = """\
for each in apptainer singularity; do
  path=$(command -v "$each") && break
done
echo "program=$path"
[ -z "$path" ] || echo "version=$("$path" --version 2>/dev/null)"
bin=$(dirname "$(readlink -f "${path:-/}")")
for each in "$bin"/../libexec/*/bin/starter-suid "$bin"/../lib/*/*/bin/starter-suid; do
  [ ! -u "$each" ] || echo "setuid=$each"
done
echo "namespaces=$(cat /proc/sys/user/max_user_namespaces 2>/dev/null)"
[ "$(cat /proc/sys/kernel/unprivileged_userns_clone 2>/dev/null)" != 0 ] || echo "namespaces=0"
[ ! -r /dev/fuse ] || [ ! -w /dev/fuse ] || echo "fuse=yes"
echo "node=${SLURMD_NODENAME:-$(uname -n)}"
"""
_ASK = "ask who runs the cluster for "
_NO_PROGRAM = (
    "`module avail` there: what brings it belongs into `modules` of the target; or ask who runs "
    'the cluster. `engine = "process"` needs neither'
)
_NO_NAMESPACES = f"{_ASK}`sysctl user.max_user_namespaces=10000`, or for apptainer-suid"
_NO_FUSE = f"{_ASK}`chmod 666 /dev/fuse`, or for apptainer-suid"


def look(settings: SlurmSettings) -> dict[str, str]:
    """Return what a node says of itself: `program`, `version`, `setuid`, `namespaces`, `fuse`.

    The target's modules are loaded there first. Takes a node for a moment, by srun.

    Raises:
        SchedulerUnreachable: Slurm does not answer, or nobody there says anything in time.
        PerdureError: no node is free, or Slurm refuses; its own words are the message.
    """
    where = scripts.allocation(settings, UNLIMITED)
    words = ("srun", "--quiet", f"--immediate={FREE_S}", *where, *loading(settings.modules))
    return said(ask((*words, "sh", "-c", _LOOK), timeout_s=ANSWER_S))


def said(text: str) -> dict[str, str]:
    """Return the `key=value` lines of a text. Pure."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {key: value.strip() for key, _, value in pairs if key}


def loading(modules: Sequence[str]) -> tuple[str, ...]:
    """Return the words before a command that load modules for it; none without modules. Pure."""
    if not modules:
        return ()
    loads = "".join(f"module load {scripts.quoted(module)} || exit 4; " for module in modules)
    return ("bash", "-lc", f'{loads}exec "$@"', "bash")


def trouble(seen: Mapping[str, str]) -> tuple[str, str] | None:
    """Return what keeps a node from running images, and what mends it; None: nothing does. Pure."""
    node, version = seen.get("node", "a node"), seen.get("version", "")
    if not seen.get("program"):
        return (f"neither `apptainer` nor `singularity` is on the PATH of `{node}`", _NO_PROGRAM)
    if seen.get("setuid"):
        return None
    if seen.get("namespaces") == "0":
        what = f"`{node}` lets nobody make user namespaces, and its {version} has no setuid part"
        return (what, _NO_NAMESPACES)
    if not seen.get("fuse"):
        what = f"/dev/fuse of `{node}` is closed to you: {version} unpacks an image for each job"
        return (what, _NO_FUSE)
    return None
