"""A service that is small: an HTTP server on a unix socket, and a child that outlives its sleep.

small.py SOCKET [ignore]    ignore: SIGTERM is nothing to it
"""

from __future__ import annotations

import os
import signal
import socketserver
import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        words = {"/busy": b'[{"execution_state": "busy"}]', "/pid": str(os.getpid()).encode()}
        body = words.get(self.path, b"hello")
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "a socket"


def main() -> None:
    # In a group of its own, as the kernels of JupyterLab are.
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    Path("child").write_text(str(child.pid))
    if "ignore" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "fail" in sys.argv:
        sys.exit("no such flag, or so")
    with socketserver.ThreadingUnixStreamServer(sys.argv[1], Answer) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
