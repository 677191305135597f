"""A Python for a host that has none: one of an image, run by the container engine there.

It runs as the user there, sees the host's folders at their own places, and has the host's own
client of the engine. What makes up a system is the image's: /usr, /etc, /var and the like.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure.errors import NoPython
from perdure.hosts.side.outliving import LENT
from perdure.hosts.ssh_folder import control_folder

if TYPE_CHECKING:
    from perdure.hosts.ssh import Ssh

_ASK_S = 60.0
_SOCKET = "/var/run/docker.sock"
# A system's own folders: in the container they are those of the image.
_SYSTEM = frozenset(
    {
        *("bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "lost+found", "opt"),
        *("proc", "run", "sbin", "snap", "sys", "usr", "var"),
    }
)
# What of a system's own the host's packages are fetched by: certificates, settings of pip and uv.
_SETTINGS = (
    *("/etc/ssl/certs", "/etc/pki", "/etc/ca-certificates"),
    *("/usr/share/ca-certificates", "/usr/local/share/ca-certificates"),
    *("/etc/pip.conf", "/etc/xdg/pip", "/etc/uv"),
)
# What a POSIX shell can tell of a host: a line each.
_SURVEY = """\
echo "user=$(id -u)"; echo "group=$(id -g)"; echo "groups=$(id -G)"
echo "name=$(id -un)"; echo "home=$HOME"
for each in "${DOCKER_HOST#unix://}" /var/run/docker.sock /run/docker.sock \\
  "${XDG_RUNTIME_DIR:-/run/user/$(id -u)}/docker.sock"; do
  [ -S "$each" ] || continue
  echo "socket=$each"
  [ -w "$each" ] && echo "writable=yes"
  break
done
"""
_MORE = """\
command -v podman >/dev/null && echo "podman=yes"
client=$(command -v docker) || exit 0
echo "client=$client"; echo "program=$(readlink -f "$client")"
for each in /*; do [ -d "$each" ] && [ ! -L "$each" ] && echo "top=$each"; done
for each in {settings}; do [ -e "$each" ] && echo "setting=$each"; done
env | cut -d= -f1 | while read -r each; do
  case $each in
  *[!A-Za-z0-9_]*) ;;
  SSL_CERT_*|PIP_*|UV_*|*_proxy|*_PROXY|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE) echo "variable=$each" ;;
  esac
done
new='import sys; sys.exit(sys.version_info < (3, 9))'
all=$(docker images --format '{{.Repository}}:{{.Tag}}' | grep -v '<none>')
own=$(echo "$all" | grep '^perdure/' | head -n 3)
for each in $own $(echo "$all" | grep -v '^perdure/' | head -n 8); do
  docker run --rm --pull=never --network=none --entrypoint=python3 "$each" -I -c "$new" \\
    >/dev/null 2>&1 || continue
  echo "image=$each"
  break
done
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What a host without Python told: one value by its name, the folders at its top.

    `settings` are files and folders of the system, `variables` names of the user's: what packages
    are fetched by.
    """

    values: Mapping[str, str]
    tops: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()


def find_socket_plainly(host: Ssh) -> dict[str, Any]:
    """Return what `side.sockets.find_socket` would, asked of a POSIX shell.

    Raises:
        HostUnreachable: the host does not answer.
    """
    values = _ask(host, _SURVEY).values
    path = values.get("socket")
    problem = None if path is None or "writable" in values else "permission denied"
    user, group = int(values.get("user", 0)), int(values.get("group", 0))
    return {"path": path, "problem": problem, "user": user, "group": group}


def find_words(host: Ssh) -> tuple[str, ...]:
    """Return the command of the host that stands for `python3` there. Runs containers there.

    Raises:
        NoPython: there is no engine for this user, or no image of its has a Python.
        HostUnreachable: the host does not answer.
    """
    more = _MORE.replace("{settings}", " ".join(_SETTINGS))
    return words_of(_ask(host, _SURVEY + more), host.name)


def words_of(found: Found, name: str) -> tuple[str, ...]:
    """Return the command that `find_words` does, of a host called `name`. Pure; raises alike."""
    lacks = f"there is no Python 3.9 or newer on `{name}`"
    if not {"socket", "writable", "client"} <= found.values.keys():
        # Its client does not run inside of another system, and what is begun there needs it.
        besides = ": podman lends none" if "podman" in found.values else ""
        raise NoPython(
            f"{lacks}, nor Docker for its user, which could lend one",
            hint=f"install python3 there{besides}",
        )
    if "image" not in found.values:
        raise NoPython(
            f"{lacks}, nor an image with one",
            hint=f"perdure build --on {name}: that image has one; or install python3 there",
        )
    return container_words(found)


def container_words(found: Found) -> tuple[str, ...]:
    """Return the words that run a Python of an image as if it were the host's own. Pure."""
    values = found.values
    client, home = values["client"], values.get("home") or "/"
    path = f"{posixpath.dirname(client)}:/opt/venv/bin:/usr/local/bin:/usr/bin:/bin"
    shown = [top for top in found.tops if _is_shown(top)]
    shown += [] if any(_is_below(home, top) for top in shown) else [home]
    variables = {"HOME": home, "USER": values.get("name", ""), "LOGNAME": values.get("name", "")}
    variables |= {"PATH": path, "DOCKER_HOST": f"unix://{_SOCKET}"}
    groups = values.get("groups", "").split()
    words = (
        *(client, "run", "--rm", "--interactive", "--pull=never", "--label=perdure.role=side"),
        # Ports of the loopback, process ids, /dev/shm and the host's name are the host's.
        *("--network=host", "--pid=host", "--ipc=host", "--uts=host", "--workdir=/"),
        "--security-opt=label=disable",
        f"--user={values['user']}:{values['group']}",
        *(f"--group-add={group}" for group in groups if group != values["group"]),
        *(f"--env={name}={value}" for name, value in variables.items()),
        # By their names only: an index may have a password.
        *(f"--env={name}" for name in found.variables),
        *(f"--volume={folder}:{folder}" for folder in shown),
        *(f"--volume={path}:{path}:ro" for path in found.settings),
        f"--volume={values['socket']}:{_SOCKET}",
        f"--volume={values['program']}:{client}:ro",
        *("--entrypoint=python3", values["image"]),
    )
    # What is to outlive the connection needs a container like this one.
    return (*words[:-2], f"--env={LENT}={json.dumps(words)}", *words[-2:])


def remember(host: Ssh, words: Sequence[str]) -> None:
    """Note by what words a Python is run on a host. Touches the disk."""
    file = _file(host)
    draft = file.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps(list(words)))
    draft.replace(file)


def python_there(host: Ssh) -> tuple[str, ...]:
    """Return the command of the host that is its Python, as the link to it found it."""
    from perdure.hosts.question import answer

    host.call(answer)
    try:
        return tuple(json.loads(_file(host).read_bytes()))
    except (OSError, ValueError):
        return ("python3",)


def is_lent(words: Sequence[str]) -> bool:
    """Return whether the words of a host's Python are those of a container. Pure."""
    return "--label=perdure.role=side" in words


def _file(host: Ssh) -> Path:
    name = hashlib.sha256(host.destination.encode()).hexdigest()[:16]
    return control_folder() / f"{name}.p"


def _ask(host: Ssh, script: str) -> Found:
    done = host.run_plainly(["sh", "-c", script], _ASK_S, {}, None, None)
    pairs = [line.partition("=")[::2] for line in done.text.splitlines() if "=" in line]
    lists = ("top", "setting", "variable")
    several = {name: tuple(value for each, value in pairs if each == name) for name in lists}
    return Found({name: value for name, value in pairs if name not in lists}, *several.values())


def _is_shown(top: str) -> bool:
    # The client's words for a folder take neither of these.
    return top.lstrip("/") not in _SYSTEM and ":" not in top and "," not in top


def _is_below(path: str, top: str) -> bool:
    return path == top or path.startswith(top.rstrip("/") + "/")
