"""What the tests of shipping share: images of a few hundred bytes that can run `true`."""

from __future__ import annotations

import io
import platform
import secrets
import socket
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.engines.engines import RealEngine

#: exit(0), as Linux runs it: an ELF header, one program header, a few instructions.
_CODE = {
    "x86_64": (62, bytes.fromhex("31ffb83c0000000f05")),
    "aarch64": (183, bytes.fromhex("000080d2a80b80d2010000d4")),
}


def true_program() -> bytes:
    """Return a static program that ends with 0."""
    machine, code = _CODE[platform.machine()]
    start = 0x400000 + 0x78
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    for value, size in (
        *((2, 2), (machine, 2), (1, 4), (start, 8), (0x40, 8), (0, 8), (0, 4)),
        *((0x40, 2), (0x38, 2), (1, 2), (0, 2), (0, 2), (0, 2)),
        *((1, 4), (5, 4), (0, 8), (0x400000, 8), (0x400000, 8)),
        *((0x78 + len(code), 8), (0x78 + len(code), 8), (0x1000, 8)),
    ):
        header += value.to_bytes(size, "little")
    return header + code


class Builder:
    """Makes tiny images on real engines, and removes them all at the end."""

    def __init__(self, folder: Path) -> None:
        self.name = f"perdure-tests/ship-{secrets.token_hex(6)}"
        self._folder = folder
        self._made: list[tuple[RealEngine, str]] = []

    def build(self, engine: RealEngine, tag: str, *layers: str, true: bool = True) -> str:
        """Return the tag of an image with a layer for `true` and one for each text."""
        folder = self._folder / tag
        folder.mkdir(parents=True, exist_ok=True)
        # What a test that was cut short has left on an engine is not taken for this image.
        (folder / "true").write_bytes(true_program() + self.name.encode())
        (folder / "true").chmod(0o755)
        lines = ["FROM scratch", *(["COPY true /true"] if true else [])]
        for number, text in enumerate(layers):
            (folder / f"layer-{number}").write_text(text)
            lines.append(f"COPY layer-{number} /layer-{number}")
        lines += ['ENV PATH=/ VIRTUAL_ENV=/opt/venv SAID="it\'s $(x)"', 'CMD ["true"]']
        (folder / "Dockerfile").write_text("\n".join(lines) + "\n")
        name = self.own(engine, f"{self.name}:{tag}")
        engine.docker("build", "--quiet", "--tag", name, str(folder))
        return name

    def imported(self, engine: RealEngine, tag: str, text: str) -> str:
        """Return the tag of an image of one layer, which holds the same on every engine."""
        output = io.BytesIO()
        with tarfile.open(fileobj=output, mode="w") as archive:
            for name, content in (("true", true_program()), ("text", text.encode())):
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(content), 0o755
                archive.addfile(member, io.BytesIO(content))
        name = self.own(engine, f"{self.name}:{tag}")
        engine.docker("import", "--change", "ENV PATH=/", "-", name, stdin=output.getvalue())
        return name

    def own(self, engine: RealEngine, name: str) -> str:
        """Return a name that is removed from the engine at the end."""
        self._made.append((engine, name))
        return name

    def remove(self) -> None:
        """Remove what was made."""
        for engine, name in reversed(self._made):
            engine.docker("image", "rm", "--force", name, check=False)


def use(engine: RealEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process's variables lead to an engine."""
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    for name, value in engine.variables.items():
        monkeypatch.setenv(name, value)


def address(engine: RealEngine) -> str:
    """Return what `--to` calls an engine by."""
    return engine.variables["DOCKER_HOST"]


@contextmanager
def failing_socket(folder: Path, engine: RealEngine, word: bytes) -> Iterator[str]:
    """Yield an address of the engine that is cut off once a request with `word` is under way."""
    path = folder / "engine.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(16)
        serving = threading.Thread(target=_serve, args=(listener, engine, word), daemon=True)
        serving.start()
        yield f"unix://{path}"
        listener.shutdown(socket.SHUT_RDWR)
        serving.join(60)


def _serve(listener: socket.socket, engine: RealEngine, word: bytes) -> None:
    real = address(engine).removeprefix("unix://")
    with suppress(OSError):
        while True:
            near, _ = listener.accept()
            far = socket.socket(socket.AF_UNIX)
            far.connect(real)
            threading.Thread(target=_relay, args=(near, far, word), daemon=True).start()


def _relay(near: socket.socket, far: socket.socket, word: bytes) -> None:
    cut = threading.Event()
    with near, far:
        back = threading.Thread(target=_pump, args=(far, near, b"", cut), daemon=True)
        back.start()
        _pump(near, far, word, cut)
        back.join()


def _pump(source: socket.socket, sink: socket.socket, word: bytes, cut: threading.Event) -> None:
    """Pass bytes on; from the request with `word` on, only the first of them."""
    with suppress(OSError):
        while data := source.recv(1 << 14):
            if word and word in data:
                cut.set()
            elif cut.is_set():
                break
            sink.sendall(data)
    for each in (source, sink) if cut.is_set() else (sink,):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR if cut.is_set() else socket.SHUT_WR)
