"""Several ranks that train one model, as one run: one generation, one step to stop at, one commit.

Every rank writes its own shard and its own manifest into one temporary folder. Rank 0 waits until
all of them are durable, names their digests in its manifest, and publishes: a checkpoint is whole
or it is not there. What fails in one rank fails in all of them, each of which then decides as a run
of one process would: a periodic save may fail, a last one may not.
"""

from __future__ import annotations

import atexit
import os
from typing import Callable, Dict, Iterator, List, Mapping, Optional, Tuple

from perdure.runtime import exchange, generation
from perdure.runtime.agreement import Agreement
from perdure.runtime.faults import GroupError, MismatchError, NewerFormatError
from perdure.runtime.generation import Fenced
from perdure.runtime.ranks import check_world
from perdure.runtime.store import UNUSABLE, Loaded, Store, read_meta

_OK, _NO, _STOP, _FENCED = "ok", "no", "stop", "fenced"
# A rank that has heard how a commit went says so; without it rank 0 goes on all the same.
_HEARD_LIMIT_S = 5.0
Write = Callable[[str], Dict[str, object]]


def join(environ: Mapping[str, str] = os.environ) -> "Group":
    """Return this process's place among those that torchrun has started.

    Raises:
        MisuseError: the variables that torchrun sets are not there.
    """
    group = Group(exchange.connect(environ), environ)
    atexit.register(group.close)
    return group


class Group:
    """One rank of several. It has the methods of `ranks.Ranks`."""

    def __init__(self, line: exchange.Exchange, environ: Mapping[str, str]) -> None:
        self.rank = line.rank
        self.world = line.world
        self._exchange = line
        self._hosts = exchange.hosts(environ, line.rank)
        # Within one attempt torchrun may start the ranks again: that is a generation of its own.
        self._again = environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
        self._agreement = Agreement(line)
        self._agreement.start()
        self._shared = 0
        self._commits = 0

    def share(self, text: str) -> str:
        """Return rank 0's text, in every rank."""
        self._shared += 1
        key = f"share/{self._shared}"
        if self.rank == 0:
            self._exchange.put(key, text)
        return self._exchange.take(key)

    def claim(self, run_dir: str, given: Optional[int]) -> int:
        """Return the generation that rank 0 was given, or has claimed.

        Raises:
            GroupError: rank 0 could not claim one.
            OSError: this is rank 0, and the folder cannot be written.
        """
        if self.rank == 0:
            try:
                mine = generation.claim(run_dir) if given is None or self._again else given
            except OSError as error:
                self.share(f"{_NO} {error}")
                raise
            return int(self.share(str(mine)))
        told = self.share("")
        if told.startswith(_NO):
            raise GroupError(f"rank 0 could not claim the run folder: {told[len(_NO) + 1 :]}")
        return int(told)

    def agree(self, step: int, wanted: Optional[str]) -> Optional[str]:
        """Return what all ranks do at this boundary; the same in all of them."""
        return self._agreement.agree(step, wanted)

    def finish(self) -> None:
        """Note that this rank has passed its last boundary."""
        self._agreement.finish()

    def close(self) -> None:
        """Leave the group; the process that hosts the store waits a little for the others."""
        self._agreement.close()
        try:
            self._exchange.put(f"bye/{self.rank}", "")
            if self._hosts:
                self._exchange.appears(self._exchange.of_others("bye"), _HEARD_LIMIT_S)
        except GroupError:
            pass  # the host went first
        self._exchange.close()

    # -- restoring ----------------------------------------------------------------------------

    def latest(self, store: Store, warn: Callable[[str], None]) -> Optional[Loaded]:
        """Return the newest checkpoint that verifies in every rank; None where there is none.

        Raises:
            MismatchError: it was written by another number of ranks.
            NewerFormatError: a newer version wrote it.
        """
        names: Iterator[str] = iter(store.candidates() if self.rank == 0 else ())
        while True:
            name = self.share(next(names, ""))
            if not name:
                return None
            loaded, verdict = self._load(store, name)
            joined = self._join_verdicts(name, verdict)
            if joined == _OK:
                return loaded
            word, _, text = joined.partition(" ")
            if word == _STOP:
                raise MismatchError(text)
            if self.rank == 0:
                warn(f"checkpoint `{name}` cannot be used ({text}); falling back to the one before")
                store.set_aside(name)

    def _load(self, store: Store, name: str) -> Tuple[Optional[Loaded], str]:
        try:
            check_world(read_meta(os.path.join(store.root, name, "meta.json")), self.world)
            return store.load(name), _OK
        except (MismatchError, NewerFormatError) as error:
            return None, f"{_STOP} {error}"
        except UNUSABLE as error:
            return None, f"{_NO} rank {self.rank}: {error}"

    def _join_verdicts(self, name: str, verdict: str) -> str:
        """Return the first verdict that is against it, else that it is fine; same in all ranks."""
        self._exchange.put(f"verdict/{name}/{self.rank}", verdict)
        joined = ""
        if self.rank == 0:
            others = self._exchange.take_all(self._exchange.of_others(f"verdict/{name}"))
            joined = next((one for one in (verdict, *others) if one != _OK), _OK)
        return self.share(joined)

    # -- committing ---------------------------------------------------------------------------

    def commit(self, store: Store, step: int, write: Write) -> str:
        """Make a checkpoint durable in which every rank has written its part; return its name.

        Raises:
            Fenced: another attempt owns the run folder.
            GroupError: another rank failed.
            OSError: as the system says; nothing is left behind.
        """
        self._commits += 1
        stem = f"commit/{self._commits}"
        if self.rank == 0:
            return self._lead(store, step, write, stem)
        return self._follow(store, write, stem)

    def _lead(self, store: Store, step: int, write: Write, stem: str) -> str:
        path = ""
        try:
            path, meta = self._lead_writing(store, step, write, stem)
            store.write_meta(path, meta)
            name = store.publish(path, step)
        except BaseException as error:
            if path:
                store.abandon(path)
            word = _FENCED if isinstance(error, Fenced) else _NO
            said = error.newest if isinstance(error, Fenced) else error
            self._exchange.put(f"{stem}/done", f"{word} {said}")
            self._forget(stem)
            raise
        self._exchange.put(f"{stem}/done", f"{_OK} {name}")
        self._forget(stem)
        return name

    def _lead_writing(
        self, store: Store, step: int, write: Write, stem: str
    ) -> Tuple[str, Dict[str, object]]:
        """Write rank 0's shard, wait for the others', return where and what the manifest says."""
        path = ""
        failed: Optional[BaseException] = None
        meta: Dict[str, object] = {}
        try:
            path = store.begin(step)
            self._exchange.put(f"{stem}/path", path)
            meta = write(path)
        except BaseException as error:  # noqa: BLE001
            # Raised below, once nobody writes into the folder any more.
            failed = error
            if not path:
                self._exchange.put(f"{stem}/path", "")
        # Also after a failure: the others are writing into the folder that is to be removed.
        try:
            shards = self._shards(stem)
        except GroupError as error:
            shards, failed = {}, failed or error
        if failed is not None:
            if path:
                store.abandon(path)
            raise failed
        return path, {**meta, "shards": shards}

    def _shards(self, stem: str) -> Dict[str, str]:
        keys = self._exchange.of_others(f"{stem}/part")
        answers = self._exchange.take_all(keys)
        refused: List[str] = [text for text in answers if not text.startswith(f"{_OK} ")]
        if refused:
            raise GroupError("; ".join(text.partition(" ")[2] for text in refused))
        return {key.rpartition("/")[2]: text[3:] for key, text in zip(keys, answers)}

    def _forget(self, stem: str) -> None:
        """Remove a commit's words once every rank has heard how it went."""
        heard = self._exchange.of_others(f"{stem}/heard")
        if self._exchange.appears(heard, _HEARD_LIMIT_S):
            parts = self._exchange.of_others(f"{stem}/part")
            self._exchange.remove([f"{stem}/path", f"{stem}/done", *heard, *parts])

    def _follow(self, store: Store, write: Write, stem: str) -> str:
        failed: Optional[BaseException] = None
        try:
            path = self._exchange.take(f"{stem}/path")
            digest = store.write_meta(path, write(path)) if path else ""
            answer = f"{_OK} {digest}"
        except BaseException as error:  # noqa: BLE001
            # Raised below, once rank 0 has heard of it.
            failed, answer = error, f"{_NO} rank {self.rank}: {error}"
        self._exchange.put(f"{stem}/part/{self.rank}", answer)
        word, _, said = self._exchange.take(f"{stem}/done").partition(" ")
        self._exchange.put(f"{stem}/heard/{self.rank}", "")
        if failed is not None:
            raise failed
        if word == _FENCED:
            raise Fenced(store.generation, int(said))
        if word == _NO:
            raise GroupError(f"the checkpoint could not be committed by rank 0: {said}")
        return said
