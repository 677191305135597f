"""TensorBoard over the metrics of a project's jobs, on a socket that only this user can open.

Runs in TensorBoard's own environment: SOCKET, the folder of results, and a folder for event files.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from perdure.services.side.curves import Curves

_OPTIONS = (
    # Its fast loader would be a server of its own, on a port that anybody on this machine reaches.
    "--load_fast=false",
    # How often new rows are looked for, and how many points a curve may have.
    "--reload_interval=2",
    "--samples_per_plugin=scalars=5000",
    "--window_title=perdure",
)


def main(words: list[str]) -> int:
    """Serve until this process is ended."""
    from tensorboard import program  # type: ignore[import-not-found]

    path, results, cache = words
    curves = Curves(Path(results), Path(cache))
    curves.keep_up()
    board = program.TensorBoard(server_class=lambda app, flags: Server(app, path))
    board.configure(
        argv=("", *_OPTIONS, "--logdir", cache),
    )
    board.launch()
    curves.keep_on(threading.Event())
    return 0


class Server:
    """What TensorBoard serves with, in place of its own: a unix socket."""

    def __init__(self, app: Any, path: str) -> None:  # noqa: ANN401 - a WSGI application
        from werkzeug.serving import make_server

        self._server = make_server(f"unix://{path}", 0, app, threaded=True)

    def serve_forever(self) -> None:
        """Serve until this process is ended."""
        self._server.serve_forever()

    def get_url(self) -> str:
        """Return an address, which only the gate knows."""
        return "http://localhost/"
