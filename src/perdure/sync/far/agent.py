"""The far end of a synchronised tree: writes what it is told, and tells what changed.

Frames come in order and are answered in order; it ends with its input. A newer session fences the
ones before: what of theirs is still on its way, after a network came back, is not carried out.
"""

from __future__ import annotations

import fcntl
import gc
import os
import signal
import stat
import sys
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from perdure.sync.far.folders import Refused, split
from perdure.sync.far.frames import Blob, Garbled, Header
from perdure.sync.far.inotify import Inotify
from perdure.sync.far.landing import STATE, Changed, Draft, Ground
from perdure.sync.far.patterns import Patterns
from perdure.sync.far.pipe import Pipe
from perdure.sync.far.tree import BLOCK_BYTES, FILE, LINK, MODE, Entry, digest_of, look
from perdure.sync.far.watching import Search, Watch, load, save

_FOLDER = STATE + "/sync"
_SESSION, _LOCK, _SEEN = "session", "lock", "seen.json"
# Nothing here may be written, whatever is asked.
_NEVER = frozenset({".git", STATE})
# Looking around may take this share of a core, and is done no oftener than that.
_SHARE, _LOOK_S = 0.003, 2.0
_SAVE_S = 30.0
# Folders that are watched for what goes back; in the others it is found by looking.
_MOST_WATCHED = 2000


class Fenced(Exception):
    """Another session has taken over."""


class Agent:
    """One session at the far end."""

    def __init__(self, pipe: Pipe, hello: Header) -> None:
        root = os.path.expanduser(hello["root"])
        os.makedirs(root, exist_ok=True)
        self._pipe = pipe
        self._mark = str(hello["mark"])
        self._never = _NEVER.union(hello["never"])
        self._session = _claim(root, self._mark)
        self._ground = Ground(root, self._mark, {}, yields=True)
        memory = self._ground.memory
        memory.update(load(_FOLDER + "/" + _SEEN, self._ground.fd))
        search = Search(Patterns(hello["pull"]), frozenset(hello["hidden"]), self._never)
        self._watch = Watch(self._ground.fd, memory, search, pipe.tick)
        self._drafts: Dict[int, Draft] = {}
        self._refused: Dict[int, Exception] = {}
        self._look_at = float("inf")
        self._looked = 0.0
        self._hints = _hints(root) if hello["pull"] else None
        pipe.beside = None if self._hints is None else self._hints.fileno()
        self._save_at = time.monotonic() + _SAVE_S
        pipe.write(
            {
                "op": "hello",
                "root": os.path.realpath(root),
                "python": sys.version.split()[0],
                "folding": _folds(self._ground.fd),
                "empty": set(os.listdir(self._ground.fd)) <= {STATE},
            }
        )

    def serve(self) -> None:
        """Answer until there is nobody to answer."""
        answers: Dict[str, Callable[[Header, Blob], None]] = {
            "look": self._look,
            "scan": self._scan,
            "apply": self._apply,
            "part": self._part,
            "drop": self._drop,
            "get": self._get,
            "ping": self._ping,
        }
        try:
            while True:
                frame = self._pipe.read(self._look_at)
                if frame is None:
                    self._look_around()
                else:
                    answers[frame[0]["op"]](*frame)
                self._ground.release()
        finally:
            for draft in self._drafts.values():
                self._ground.discard(draft)
            save(_FOLDER + "/" + _SEEN, self._ground.fd, self._watch.memory)

    def _look_around(self) -> None:
        """Look at everything when it is time, else at what Linux tells of."""
        found = self._hints.read() if self._hints is not None else set()
        if found is None or time.monotonic() >= self._look_at:
            self._tell(0, always=False)
            return
        changes = self._watch.changes_at(found)
        if changes:
            self._pipe.write({"op": "seen", "n": 0, "changes": changes, "kept": []})
        root = self._ground.fd
        if any(_is_folder(path, root) and path not in self._watch.folders for path in found):
            self._look_at = min(self._look_at, self._looked + _LOOK_S)

    def _ping(self, header: Header, _blob: Blob) -> None:
        self._pipe.write({"op": "pong", "n": header["n"]})

    def _look(self, header: Header, _blob: Blob) -> None:
        self._watch.begin(dict(header["paths"]))
        self._tell(header["n"], always=True)

    def _scan(self, header: Header, _blob: Blob) -> None:
        self._tell(header["n"], always=True)

    def _tell(self, number: int, *, always: bool) -> None:
        began = time.process_time()
        changes = self._watch.changes()
        cost = time.process_time() - began
        self._looked = time.monotonic()
        self._look_at = self._looked + max(_LOOK_S, cost / _SHARE)
        if self._hints is not None:
            self._hints.watch(sorted(self._watch.folders)[:_MOST_WATCHED])
        self._tidy()
        if always or changes:
            kept = self._take_kept()
            self._pipe.write({"op": "seen", "n": number, "changes": changes, "kept": kept})
        if time.monotonic() > self._save_at:
            save(_FOLDER + "/" + _SEEN, self._ground.fd, self._watch.memory)
            self._save_at = time.monotonic() + _SAVE_S

    def _apply(self, header: Header, blob: Blob) -> None:
        """Carry out a list of actions, their contents one after the other in the blob."""
        failed: List[Tuple[str, str, int]] = []
        at, contents = 0, memoryview(blob)
        with self._session:
            for action in header["do"]:
                size = action[-1] if action[0] == "put" else 0
                problem = self._attempt(action, contents[at : at + size])
                at += size
                self._pipe.tick()
                if problem is not None:
                    failed.append((action[1], *problem))
        kept = self._take_kept()
        self._pipe.write({"op": "done", "n": header["n"], "not": failed, "kept": kept})

    def _take_kept(self) -> List[Tuple[str, str]]:
        kept, self._ground.kept[:] = list(self._ground.kept), []
        return kept

    def _tidy(self) -> None:
        """Deal with what killed sessions left behind: none of a newer one, which is at work."""
        drafts, self._watch.drafts[:] = list(self._watch.drafts), []
        if not drafts:
            return
        with self._session:
            for path in drafts:
                try:
                    self._ground.tidy(path)
                except (OSError, Refused):
                    continue

    def _attempt(self, action: List[Any], content: memoryview) -> Optional[Tuple[str, int]]:
        """Return why an action could not be carried out, None if it was."""
        path = str(action[1])
        try:
            self._check(path)
            if action[0] == "put":
                self._put(path, action, content)
            elif action[0] == "land":
                self._land(path, action)
            elif action[0] == "delete":
                self._ground.delete(path, action[2])
                self._watch.forget(path)
            elif action[0] == "chmod":
                self._ground.chmod(path, int(action[2]) & MODE)
        except (Refused, Changed, OSError) as error:
            return _told(error)
        return None

    def _put(self, path: str, action: List[Any], content: memoryview) -> None:
        _, _, kind, mode, mtime_ns, digest, expected, _size = action
        new = Entry(str(kind), str(digest), int(mode) & MODE)
        if kind == LINK:
            self._ground.link(path, os.fsdecode(bytes(content)), new, expected)
            self._watch.note(path, new.digest)
            return
        draft = self._ground.begin(path)
        try:
            _write(draft.fd, content)
        except BaseException:
            self._ground.discard(draft)
            raise
        self._ground.land(draft, int(mtime_ns), new, expected)
        self._watch.note(path, new.digest)

    def _land(self, path: str, action: List[Any]) -> None:
        """Put a file in its place that came in parts."""
        _, _, number, mode, mtime_ns, digest, expected, size = action
        draft = self._drafts.pop(number, None)
        if draft is None:
            raise self._refused.pop(number, Refused("did not come"))
        if draft.path != path or os.fstat(draft.fd).st_size != size:
            self._ground.discard(draft)
            raise Refused("did not come whole")
        new = Entry(FILE, str(digest), int(mode) & MODE)
        self._ground.land(draft, int(mtime_ns), new, expected)
        self._watch.note(path, new.digest)

    def _part(self, header: Header, blob: Blob) -> None:
        """Take a part of a large file."""
        number, path = header["id"], str(header["path"])
        problem = None if number in self._refused else self._take_part(number, path, blob)
        failed = [] if problem is None else [(path, *problem)]
        self._pipe.write({"op": "done", "n": header["n"], "not": failed, "kept": []})

    def _take_part(self, number: int, path: str, blob: Blob) -> Optional[Tuple[str, int]]:
        try:
            self._check(path)
            with self._session:
                if number not in self._drafts:
                    self._drafts[number] = self._ground.begin(path)
                _write(self._drafts[number].fd, memoryview(blob))
        except (Refused, Changed, OSError) as error:
            self._drop({"id": number}, b"")
            self._refused[number] = error
            return _told(error)
        return None

    def _drop(self, header: Header, _blob: Blob) -> None:
        self._refused.pop(header["id"], None)
        draft = self._drafts.pop(header["id"], None)
        if draft is not None:
            self._ground.discard(draft)

    def _get(self, header: Header, _blob: Blob) -> None:
        path = str(header["path"])
        try:
            self._check(path)
            parent, name = split(path)
            self._send(path, name, self._ground.folder(parent), int(header["most"]))
        except FileNotFoundError:
            self._watch.note(path, None)
            self._pipe.write({"op": "file", "path": path, "gone": True})
        except (Refused, OSError) as error:
            self._pipe.write({"op": "file", "path": path, "why": _told(error)[0]})

    def _send(self, path: str, name: str, folder: int, most: int) -> None:
        found = look(name, folder, self._watch.memory.get(path), self._pipe.tick)
        if found is None or found.entry.kind not in (FILE, LINK):
            raise FileNotFoundError(path)
        if found.stamp[2] > most:
            raise Refused("is too large for code")
        if found.entry.kind == LINK:
            content = os.fsencode(os.readlink(name, dir_fd=folder))
            facts = (LINK, digest_of(content), 0, found.stamp[0])
            self._pipe.write({"op": "file", "path": path, "entry": facts}, content)
            return
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        with open(fd, "rb", buffering=0) as file:
            before = os.fstat(fd)
            if not stat.S_ISREG(before.st_mode):
                raise Refused("is no file")
            while True:
                content = file.read(BLOCK_BYTES)
                if not content:
                    break
                self._pipe.write({"op": "file", "path": path}, content)
            # The near side compares the digest with what came, and asks again.
            facts = (*found.entry, before.st_mtime_ns)
            self._pipe.write({"op": "file", "path": path, "entry": facts})

    def _check(self, path: str) -> None:
        """Raise unless the path is one that may be written."""
        split(path)
        if path.partition("/")[0] in self._never or ".git" in path.split("/"):
            raise Refused("is never part of the code")


class _Session:
    """The right to write here: a lock for as long as it is used, unless a newer session has it."""

    def __init__(self, folder: str, mark: str) -> None:
        self._file = os.path.join(folder, _SESSION)
        self._lock = os.open(os.path.join(folder, _LOCK), os.O_RDWR | os.O_CREAT, 0o600)
        self._mark = mark

    def __enter__(self) -> None:
        _flock(self._lock, fcntl.LOCK_SH)
        try:
            with open(self._file, encoding="ascii") as file:
                found = file.read()
        except OSError:
            found = ""
        if found != self._mark:
            raise Fenced("a newer session has taken over, or all was removed")

    def __exit__(self, *_: object) -> None:
        _flock(self._lock, fcntl.LOCK_UN)

    def claim(self) -> None:
        """Fence every session before."""
        _flock(self._lock, fcntl.LOCK_EX)
        draft = self._file + "." + self._mark
        with open(draft, "w", encoding="ascii") as file:
            file.write(self._mark)
        os.replace(draft, self._file)
        _flock(self._lock, fcntl.LOCK_UN)


def _claim(root: str, mark: str) -> _Session:
    folder = os.path.join(root, _FOLDER)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    session = _Session(folder, mark)
    session.claim()
    return session


def _hints(root: str) -> Optional[Inotify]:
    try:
        return Inotify(os.path.realpath(root))
    except (OSError, AttributeError):
        return None


def _is_folder(path: str, root: int) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path, dir_fd=root, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _flock(fd: int, how: int) -> None:
    try:
        fcntl.flock(fd, how)
    except OSError:
        pass  # a file system without locks: a moment stays in which two may write


def _folds(root: int) -> bool:
    """Return whether names that differ only by case are one name here."""
    try:
        os.stat(_FOLDER + "/" + _SESSION.upper(), dir_fd=root)
    except OSError:
        return False
    return True


def _told(error: Exception) -> Tuple[str, int]:
    """Return an error in words, and its number if it has one."""
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower(), error.errno or 0
    return str(error), 0


def _write(fd: int, content: memoryview) -> None:
    while content:
        content = content[os.write(fd, content) :]


def main() -> None:
    """Serve standard input and output."""
    sink = os.dup(1)
    # What some library prints must not come between frames.
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What is kept here is no garbage, and there is much of it.
    gc.set_threshold(50_000)
    pipe = Pipe(0, sink)
    try:
        pipe.greet()
        frame = pipe.read(float("inf"))
        if frame is not None:
            _serve(pipe, frame[0])
    except (EOFError, BrokenPipeError, Fenced):
        pass
    except Garbled as error:
        sys.exit(str(error))


def _serve(pipe: Pipe, hello: Header) -> None:
    try:
        agent = Agent(pipe, hello)
    except (OSError, Refused) as error:
        words = error.strerror if isinstance(error, OSError) else None
        name = getattr(error, "filename", None)
        told = (words or str(error)).lower()
        pipe.write({"op": "failed", "why": told, "where": str(name or hello["root"])})
        return
    agent.serve()
