"""A tree that is written to, and nothing outside of it: files appear whole, and nothing is lost.

Folders are opened one below the other without following a link (openat(2), O_NOFOLLOW). A file is
written under another name beside its place and swapped with what is there: so what was displaced is
known for sure, and is kept in `.perdure/conflicts` unless it is what the writer expected.
"""

from __future__ import annotations

import errno
import os
import time
from typing import Collection, List, NamedTuple, Optional, Tuple

from perdure.sync.far.drafts import WORK, changing, leftover, writing
from perdure.sync.far.folders import Folders, Refused, leads_out, split
from perdure.sync.far.renaming import rename_new, swap
from perdure.sync.far.tree import FOLDER, LINK, OTHER, Entry, Memory, Seen, look, seen

STATE = ".perdure"
CONFLICTS = STATE + "/conflicts"
_TRIES = 100


class Changed(Exception):
    """What lies there is not what was expected, and must stay."""


class Draft(NamedTuple):
    """A file that is being written beside its place."""

    path: str
    folder: int
    temporary: str
    fd: int


class Ground:
    """The tree below `root`. With `yields`, what is in the way is put aside; else it stays.

    `mark` names the session that writes: drafts of others are left over. What was seen of a file is
    kept in `memory`.
    """

    def __init__(self, root: str, mark: str, memory: Memory, *, yields: bool) -> None:
        self._folders = Folders(root, self._clear)
        self.fd = self._folders.root
        self.kept: List[Tuple[str, str]] = []
        self.memory = memory
        self._mark = mark
        self._yields = yields
        self._count = 0

    def close(self) -> None:
        """Close what is open."""
        self._folders.close()

    def release(self) -> None:
        """Forget the folders that are open: others may replace them meanwhile."""
        self._folders.release()

    def folder(self, path: str, *, make: bool = False) -> int:
        """Return a descriptor of a folder, open until `release`.

        Raises:
            FileNotFoundError: it is not there, and not to be made.
            Refused: the way there leads over a link, or over what is no folder.
            Changed: something is in the way there, and stays.
        """
        return self._folders.get(path, make=make)

    def begin(self, path: str) -> Draft:
        """Return a draft of a file, its folders made.

        Raises:
            Refused, OSError: there can be none.
        """
        parent = split(path)[0]
        folder = self.folder(parent, make=True)
        temporary = self._temporary()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(temporary, flags, 0o600, dir_fd=folder)
        except FileNotFoundError:
            # Somebody removed the folder since it was opened.
            self.release()
            folder = self.folder(parent, make=True)
            fd = os.open(temporary, flags, 0o600, dir_fd=folder)
        return Draft(path, os.dup(folder), temporary, fd)

    def discard(self, draft: Draft) -> None:
        """Remove a draft."""
        _remove(draft.temporary, draft.folder)
        _close(draft)

    def land(self, draft: Draft, mtime_ns: int, new: Entry, expected: Collection[str]) -> Seen:
        """Return what was seen of a draft once it is in its place.

        What is displaced and has none of the digests `expected` is kept.

        Raises:
            Changed: it is there and stays, because this tree does not yield.
            Refused, OSError: it cannot be put there.
        """
        try:
            os.fchmod(draft.fd, new.mode)
            os.utime(draft.fd, ns=(mtime_ns, mtime_ns))
            self._place(draft.folder, draft.temporary, draft.path, new, expected)
            landed = seen(os.fstat(draft.fd), new)
        except BaseException:
            self.discard(draft)
            raise
        _close(draft)
        self.memory[draft.path] = landed
        return landed

    def link(self, path: str, target: str, new: Entry, expected: Collection[str]) -> None:
        """Put a link in its place, as `land` a file."""
        if leads_out(path, target):
            raise Refused("is a link that may lead out of the project")
        parent, name = split(path)
        folder = self.folder(parent, make=True)
        temporary = self._temporary()
        os.symlink(target, temporary, dir_fd=folder)
        try:
            self._place(folder, temporary, path, new, expected)
        except BaseException:
            _remove(temporary, folder)
            raise
        self._remember(path, look(name, folder))

    def delete(self, path: str, expected: Collection[str], *, keep: bool = False) -> None:
        """Remove what lies there, and the folders that are empty then.

        It is kept if its digest is not one of those `expected`, or with `keep`.

        Raises:
            Changed: it is another one and stays, because this tree does not yield.
            Refused, OSError: it cannot be removed.
        """
        parent, name = split(path)
        try:
            folder = self.folder(parent)
        except FileNotFoundError:
            return
        found = self._look(name, folder, path)
        if found is None or found.entry.kind in (FOLDER, OTHER):
            return
        if not self._yields and found.entry.digest not in expected:
            raise Changed(path)
        wanted = found.entry.digest in expected and not keep
        aside = changing(self._temporary(), found.entry.digest if wanted else WORK, name)
        os.rename(name, aside, src_dir_fd=folder, dst_dir_fd=folder)
        try:
            if keep and self._is_expected(folder, aside, found, expected):
                self._keep(folder, aside, path)
            elif not self._let_go(folder, aside, path, found, expected):
                raise Changed(path)
        except (Changed, OSError):
            self._return(folder, aside, path)
            raise
        self.memory.pop(path, None)
        self._prune(parent)

    def tidy(self, path: str) -> None:
        """Deal with a draft that a killed session left: what is somebody's work is kept.

        Raises:
            OSError, Refused: it cannot be dealt with.
        """
        parent, name = split(path)
        found = leftover(name)
        if found.mark == self._mark:
            return
        folder = self.folder(parent)
        seen_there = look(name, folder) if found.digest is not None else None
        if seen_there is None or seen_there.entry.digest == found.digest:
            os.unlink(name, dir_fd=folder)
        else:
            self._keep(folder, name, parent + "/" + found.name if parent else found.name)

    def chmod(self, path: str, mode: int) -> None:
        """Give a file its permissions, if it is there.

        Raises:
            Refused, OSError: it cannot be.
        """
        parent, name = split(path)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            folder = self.folder(parent)
            fd = os.open(name, flags, dir_fd=folder)
        except FileNotFoundError:
            return
        try:
            os.fchmod(fd, mode)
        finally:
            os.close(fd)

    def _clear(self, above: int, name: str, path: str) -> None:
        """Put aside what is no folder and stands where one has to be."""
        found = look(name, above)
        if found is None or found.entry.kind == FOLDER:
            return
        if found.entry.kind == OTHER:
            raise Refused("lies below what is neither a folder nor a file")
        if found.entry.kind == LINK and leads_out(path, os.readlink(name, dir_fd=above)):
            raise Refused("lies below a link that leads out of the project")
        if not self._yields:
            raise Changed(path)
        self._keep(above, name, path)

    def _place(
        self, folder: int, temporary: str, path: str, new: Entry, expected: Collection[str]
    ) -> None:
        name = path.rpartition("/")[2]
        fine = frozenset((new.digest, *expected))
        # Of what was never seen there it is not asked first: the rename tells.
        is_new = path not in self.memory
        for _ in range(_TRIES):
            found = None if is_new else self._look(name, folder, path)
            is_new = False
            try:
                if found is None:
                    rename_new(temporary, name, folder, folder)
                    return
                if found.entry.kind in (FOLDER, OTHER):
                    self._make_room(folder, name, path, found)
                    continue
                if not self._yields and found.entry.digest not in fine:
                    raise Changed(path)
                aside = self._swap(temporary, new.digest, name, folder)
            except (FileExistsError, FileNotFoundError):
                continue
            if not self._let_go(folder, aside, path, found, fine):
                self._put_back(folder, aside, path, new)
            return
        raise Refused("is made and removed again and again")

    def _swap(self, temporary: str, digest: str, name: str, folder: int) -> str:
        """Return the name of what was displaced: a killed session leaves it to be found."""
        aside = changing(temporary, digest, name)
        os.rename(temporary, aside, src_dir_fd=folder, dst_dir_fd=folder)
        try:
            swap(aside, name, folder)
        except OSError:
            os.rename(aside, temporary, src_dir_fd=folder, dst_dir_fd=folder)
            raise
        return aside

    def _make_room(self, folder: int, name: str, path: str, found: Seen) -> None:
        if found.entry.kind == OTHER:
            raise Refused("is neither a file nor a link there")
        self._folders.close_below(path)
        try:
            os.rmdir(name, dir_fd=folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            if not self._yields:
                raise Changed(path) from None
            self._keep(folder, name, path)

    def _let_go(
        self, folder: int, temporary: str, path: str, found: Seen, expected: Collection[str]
    ) -> bool:
        """Remove what was displaced if it is expected, else keep it; False if it has to go back."""
        if self._is_expected(folder, temporary, found, expected):
            os.unlink(temporary, dir_fd=folder)
        elif self._yields:
            self._keep(folder, temporary, path)
        else:
            return False
        return True

    def _put_back(self, folder: int, temporary: str, path: str, new: Entry) -> None:
        """Undo a swap; what somebody put there since is kept."""
        swap(temporary, path.rpartition("/")[2], folder)
        found = look(temporary, folder)
        if found is not None and found.entry.digest == new.digest:
            os.unlink(temporary, dir_fd=folder)
        elif found is not None:
            self._keep(folder, temporary, path)
        raise Changed(path)

    def _return(self, folder: int, aside: str, path: str) -> None:
        """Undo a removal, unless there is another file by now."""
        try:
            rename_new(aside, path.rpartition("/")[2], folder, folder)
        except FileNotFoundError:
            return
        except FileExistsError:
            self._keep(folder, aside, path)

    def _is_expected(
        self, folder: int, temporary: str, found: Seen, expected: Collection[str]
    ) -> bool:
        """Return whether what was displaced has an expected digest.

        If stat says that it is what was looked at before, it is not read again.
        """
        after = os.stat(temporary, dir_fd=folder, follow_symlinks=False)
        same = (after.st_mtime_ns, after.st_size, after.st_ino)
        if found.settled and same == (found.stamp[0], found.stamp[2], found.stamp[3]):
            return found.entry.digest in expected
        displaced = look(temporary, folder)
        return displaced is None or displaced.entry.digest in expected

    def _look(self, name: str, folder: int, path: str) -> Optional[Seen]:
        return self._remember(path, look(name, folder, self.memory.get(path)))

    def _remember(self, path: str, found: Optional[Seen]) -> Optional[Seen]:
        if found is None:
            self.memory.pop(path, None)
        else:
            self.memory[path] = found
        return found

    def _keep(self, folder: int, name: str, path: str) -> None:
        """Move what lies there to the conflicts, or beside its place if those cannot be reached."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        parent, last = split(path)
        self._folders.close_below(path)
        for number in range(1, _TRIES * _TRIES):
            one = stamp if number == 1 else "%s-%d" % (stamp, number)
            where = "%s/%s" % (CONFLICTS, one) + ("/" + parent if parent else "")
            try:
                rename_new(name, last, folder, self.folder(where, make=True))
            except FileExistsError:
                continue
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                beside = "%s.conflict-%s" % (last[:200], one)
                rename_new(name, beside, folder, folder)
                where, last = parent, beside
            self.kept.append((path, where + "/" + last if where else last))
            return
        raise Refused("was in conflict too often within one second")

    def _prune(self, path: str) -> None:
        """Remove a folder and those above it, as far as they are empty."""
        while path:
            parent, _, name = path.rpartition("/")
            self._folders.close_below(path)
            try:
                os.rmdir(name, dir_fd=self.folder(parent))
            except (OSError, Refused):
                return
            path = parent

    def _temporary(self) -> str:
        self._count += 1
        return writing(self._mark, self._count)


def _close(draft: Draft) -> None:
    for fd in (draft.fd, draft.folder):
        try:
            os.close(fd)
        except OSError:
            pass


def _remove(name: str, folder: int) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except OSError:
        pass
