"""The door of this machine: an sshd of its own, for whoever asks for it in the bucket.

Not the image's own: with other keys, on another port, and there only as long as somebody visits.
A visitor's key does one thing, which `perdure.instance.entering` is.
"""

from __future__ import annotations

import json
import os
import pwd
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import perdure
from perdure.clouds.side import door
from perdure.clouds.side.bucket import Bucket
from perdure.clouds.side.door import Door, Visit
from perdure.errors import EnvironmentFailed, PerdureError
from perdure.hosts import local
from perdure.targets import supervision

_KEYS, _HOST_KEY, _CONFIG = "authorized_keys", "host_key", "sshd_config"
_INSIDE, _ENTER, _LOG = "inside.json", "enter.py", "log"
_PAM = Path("/etc/pam.d/sshd")
# Where sshd wants to have a folder with nothing in it: no image has it before its own has run.
_EMPTY = Path("/run/sshd")
_LIMIT_S = 20.0
_LOOK_S = 0.05
_LISTENING = b"Server listening on"
# Another one, where machines have no network of their own, as in tests.
_PORT = "PERDURE_DOOR_PORT"
_PROGRAM = """\
import sys
sys.path.insert(0, {kit!r})
from perdure.instance.entering import enter
enter({inside!r})
"""


@dataclass(slots=True)
class Doorkeeper:
    """Lets visitors in, and nobody else.

    `inside` is what a visitor's command is run with: see `perdure.instance.entering`. `address`
    tells where this machine is reached; `folder` is made, and is this door's alone.
    """

    bucket: Bucket
    job: str
    folder: Path
    address: Callable[[], str]
    inside: Mapping[str, Any]
    port: int = field(default_factory=lambda: int(os.environ.get(_PORT, door.PORT)))
    _let_in: tuple[Visit, ...] = ()
    _listener: int | None = None
    _is_furnished: bool = False
    _is_closed: bool = False

    def mind(self) -> None:
        """Let in who asks for it by now, and nobody any more who has left. Asks the bucket."""
        now, asked = time.time(), door.visits(self.bucket, self.job)
        wanted = tuple(each for each in asked if now - each.at < door.LONGEST_S)
        is_so = wanted == self._let_in and (self._listener is None or self._listens())
        if is_so or self._is_closed:
            return
        if wanted:
            door.answer(self.bucket, self.job, self._opened(wanted))
        else:
            self._rest()
        self._let_in = wanted

    def close(self) -> None:
        """Listen no more, whoever asks; who is in goes with the machine. Any thread may call it."""
        self._is_closed = True
        self._rest()

    def _rest(self) -> None:
        listener, self._listener = self._listener, None
        # The number of one that has ended may be another's by now.
        if listener is not None and local.exit_code_of(listener) is None:
            local.kill_group(listener)

    def _opened(self, wanted: Sequence[Visit]) -> Door:
        """Return what visitors are told, once they are let in."""
        names, user = tuple(each.name for each in wanted), ""
        try:
            user = pwd.getpwuid(os.geteuid()).pw_name
            if not self._is_furnished:
                self._furnish(user)
            _write(self.folder / _KEYS, "".join(map(self._line, wanted)))
            if os.geteuid() == 0:
                # Each time: it may go with the image's own sshd, and each visitor needs it.
                _EMPTY.mkdir(mode=0o755, exist_ok=True)
            if not self._listens():
                self._listen()
            key = (self.folder / f"{_HOST_KEY}.pub").read_text().strip()
            return Door(self.address(), self.port, user, key, names)
        except (PerdureError, OSError, ValueError, LookupError) as error:
            said = error.message if isinstance(error, PerdureError) else str(error)
            return Door("", self.port, user, "", names, said)

    def _line(self, visit: Visit) -> str:
        command = shlex.join([sys.executable, str(self.folder / _ENTER)]).replace('"', '\\"')
        return f'restrict,pty,command="{command}" {visit.key}\n'

    def _furnish(self, user: str) -> None:
        """Make the host's key, and write what sshd and a visitor's command read."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700, parents=True)
        key = self.folder / _HOST_KEY
        made = local.run(
            ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)),
            timeout_s=_LIMIT_S,
        )
        if made.returncode != 0:
            raise EnvironmentFailed(f"no key can be made for the machine: {made.complaint}")
        around = supervision.without_job(os.environ)
        _write(self.folder / _INSIDE, json.dumps({**self.inside, "around": around}))
        kit = str(Path(perdure.__file__).parents[1])
        program = _PROGRAM.format(kit=kit, inside=str(self.folder / _INSIDE))
        _write(self.folder / _ENTER, program)
        _write(self.folder / _CONFIG, config(self.folder, self.port, user))
        self._is_furnished = True

    def _listens(self) -> bool:
        return self._listener is not None and local.exit_code_of(self._listener) is None

    def _listen(self) -> None:
        """Start sshd, and return once it listens."""
        program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if program is None:
            raise EnvironmentFailed("the machine's image has no sshd")
        log = self.folder / _LOG
        log.unlink(missing_ok=True)
        argv = (program, "-D", "-e", "-f", str(self.folder / _CONFIG))
        self._listener = pid = local.spawn_detached(argv, log=log)
        if self._is_closed:  # while it was begun
            self._rest()
        deadline = time.monotonic() + _LIMIT_S
        while local.exit_code_of(pid) is None and time.monotonic() < deadline:
            # Whether somebody listens is another question: that may be another program.
            if _LISTENING in log.read_bytes():
                return
            time.sleep(_LOOK_S)
        self._rest()
        said = log.read_text("utf-8", "replace").strip().rpartition("\n")[2]
        raise EnvironmentFailed(f"sshd does not start on the machine: {said or 'it says nothing'}")


def config(folder: Path, port: int, user: str) -> str:
    """Return the configuration of that sshd: keys of visitors, and nothing else. Pure but for PAM.

    Words and their meaning: sshd_config(5).
    """
    words = {
        "Port": port,
        # As the networks are that are let in; and whoever has the port there has it whole.
        "AddressFamily": "inet",
        "HostKey": f'"{folder / _HOST_KEY}"',
        # There `%` begins a token.
        "AuthorizedKeysFile": f'"{folder / _KEYS}"'.replace("%", "%%"),
        "PidFile": "none",
        # The folder is this user's alone, whatever those above it are.
        "StrictModes": "no",
        "AllowUsers": user,
        "PermitRootLogin": "prohibit-password",
        "AuthenticationMethods": "publickey",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "PermitUserRC": "no",
        "PrintMotd": "no",
        "PrintLastLog": "no",
        "LoginGraceTime": 20,
        "ClientAliveInterval": 15,
        # An account without a password is closed to sshd unless PAM has the say.
        "UsePAM": "yes" if os.geteuid() == 0 and _PAM.exists() else "no",
    }
    return "".join(f"{name} {value}\n" for name, value in words.items())


def _write(path: Path, text: str) -> None:
    """Write a private file, whole or not at all."""
    draft = path.with_name(f".{path.name}")
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)
