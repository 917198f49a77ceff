"""Servers of HTTP on this machine, for as long as a test needs them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import HTTPServer


@contextmanager
def serving(server: HTTPServer) -> Iterator[None]:
    """Let it answer. It ends at once: by itself, `serve_forever` looks twice a second whether it is to end."""
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    with server:
        yield
        server.shutdown()
