from __future__ import annotations

import socket
import threading

from perdure.targets.relay import relay


def test_a_port_passes_on_both_ways_and_ends_when_either_side_does() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            for _ in range(2):
                there, _ = server.accept()
                with there:
                    asked = b""
                    while data := there.recv(100):
                        asked += data
                    there.sendall(asked.upper())

        threading.Thread(target=answer, daemon=True).start()
        port = relay("127.0.0.1", server.getsockname()[1])
        for words in (b"hello", b"a" * 300_000):
            with socket.create_connection(("127.0.0.1", port), timeout=120) as here:
                here.sendall(words)
                here.shutdown(socket.SHUT_WR)
                heard = b""
                while data := here.recv(65536):
                    heard += data
            assert heard == words.upper()


def test_where_nobody_listens_the_connection_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = server.getsockname()[1]
    port = relay("127.0.0.1", closed)
    with socket.create_connection(("127.0.0.1", port), timeout=120) as here:
        assert here.recv(1) == b""
