"""Serves fakes on this machine: in a thread for tests, in the foreground for people."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp


def _listener(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))  # never anywhere else: a fake checks nothing
        listener.listen(256)
    except OSError:
        listener.close()
        raise
    return listener


def _server(app: ASGIApp) -> uvicorn.Server:
    return uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", loop="asyncio"))


@contextmanager
def served(app: ASGIApp, port: int = 0) -> Iterator[str]:
    """``app`` on a port, a free one if none is named, in a thread; gives its URL."""
    listener, server = _listener(port), _server(app)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


async def serve(apps: Mapping[int, ASGIApp]) -> None:
    """Each application on its port, until interrupted."""
    servers = [(_server(app), _listener(port)) for port, app in apps.items()]
    await asyncio.gather(*(server.serve([listener]) for server, listener in servers))
