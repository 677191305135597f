"""An ordinary user: the tests may run as root, and what they prove is for people who do not."""

from __future__ import annotations

import grp
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cli.command import Ended
from tests.engines.engines import RealEngine

USER_ID = 1000
LIMIT_S = 600.0


@dataclass(frozen=True, slots=True)
class OrdinaryUser:
    """A user with an id that is not 0, a home, and the group `docker`.

    `home` and all that is to be used lies in `folder`, which is theirs.
    """

    user_id: int
    group_id: int
    folder: Path
    python: Path = Path(sys.executable)

    @property
    def home(self) -> Path:
        """Return the user's home."""
        return self.folder / "home"

    def give(self, path: Path) -> Path:
        """Return the path after making it, and all in it, the user's."""
        os.chown(path, self.user_id, self.group_id, follow_symlinks=False)
        for folder, folders, files in os.walk(path):
            for name in [*folders, *files]:
                os.lchown(Path(folder, name), self.user_id, self.group_id)
        return path

    def run(
        self,
        *argv: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout_s: float = LIMIT_S,
    ) -> Ended:
        """Return how a command ended that ran as this user."""
        done = subprocess.run(
            [*self.words(), *argv],
            cwd=cwd or self.home,
            env={**os.environ, **self.variables(), **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
        )
        return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())

    def perdure(
        self,
        *words: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout_s: float = LIMIT_S,
    ) -> Ended:
        """Return how `perdure WORDS...` ended that ran as this user."""
        main = (str(self.python), "-m", "perdure.cli.main")
        return self.run(*main, *words, cwd=cwd, env=env, timeout_s=timeout_s)

    def words(self) -> tuple[str, ...]:
        """Return the words that make a command this user's."""
        if os.getuid() == self.user_id:
            return ()
        groups = ",".join([str(self.group_id), *_docker_group()])
        who = (f"--reuid={self.user_id}", f"--regid={self.group_id}", f"--groups={groups}")
        return ("setpriv", *who)

    def leading_to(self, engine: RealEngine) -> dict[str, str]:
        """Return the variables that lead to an engine; the client's settings are the user's own."""
        found = dict(engine.variables)
        if "DOCKER_CONFIG" in found:
            own = self.home / ".docker"
            own.mkdir(exist_ok=True)
            plugins = Path(found["DOCKER_CONFIG"]) / "cli-plugins"
            if not (own / "cli-plugins").is_symlink():
                (own / "cli-plugins").symlink_to(plugins)
            self.give(own)
            found["DOCKER_CONFIG"] = str(own)
        return found

    def variables(self) -> dict[str, str]:
        """Return the variables of a session of this user's."""
        config = self.home / ".config"
        return {
            "HOME": str(self.home),
            "USER": "ordinary",
            "XDG_CONFIG_HOME": str(config),
            "XDG_CACHE_HOME": str(self.home / ".cache"),
            "GIT_CONFIG_GLOBAL": str(config / "gitconfig"),
        }

    def of_others(self, folder: Path) -> list[Path]:
        """Return what lies in the folder and is not this user's."""
        found = [folder, *(Path(at, n) for at, fs, ns in os.walk(folder) for n in [*fs, *ns])]
        return [path for path in found if path.lstat().st_uid != self.user_id]


def make_user(folder: Path, settings: Path) -> OrdinaryUser:
    """Return a user whose home is in `folder`, with a copy of those settings."""
    if os.getuid() == 0:
        user_id, group_id = USER_ID, USER_ID
    else:
        user_id, group_id = os.getuid(), os.getgid()
    user = OrdinaryUser(user_id, group_id, folder, reachable_python(folder))
    user.home.mkdir()
    shutil.copytree(settings, user.home / ".config")
    user.give(folder)
    folder.chmod(0o755)
    return user


def reachable_python(folder: Path) -> Path:
    """Return an interpreter with perdure that the user can reach: root's may lie in root's home."""
    real = Path(sys.executable).resolve()
    if os.getuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in real.parents):
        return Path(sys.executable)
    system = Path(f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}")
    made = folder / "venv"
    subprocess.run([str(system), "-m", "venv", "--without-pip", str(made)], check=True)
    search = [path for path in sys.path if path.endswith("site-packages")]
    root = Path(__file__).resolve().parents[2]
    (packages,) = made.glob("lib/python*/site-packages")
    (packages / "tests.pth").write_text("\n".join([*search, str(root / "src")]) + "\n")
    (made / "bin" / "uv").symlink_to(Path(sys.executable).with_name("uv"))
    return made / "bin" / "python"


def _docker_group() -> tuple[str, ...]:
    try:
        return (str(grp.getgrnam("docker").gr_gid),)
    except KeyError:
        return ()
