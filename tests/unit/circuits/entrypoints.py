"""Functions that guarded workers run in tests."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading


def echo(payload: bytes) -> bytes:
    return payload


def who(payload: bytes) -> bytes:
    return json.dumps(
        {
            "pid": os.getpid(),
            "cwd": os.listdir("."),
            "environment": sorted(os.environ),
            "interfaces": [name for _, name in socket.if_nameindex()],
            "descriptors": sorted(int(x) for x in os.listdir("/proc/self/fd")),
        }
    ).encode()


def misbehave(payload: bytes) -> bytes:
    """Do what the payload says."""
    order = payload.decode()
    if order == "loop":
        while True:
            pass
    if order == "wait":
        threading.Event().wait()
    if order == "memory":
        return bytes(1 << 40)
    if order == "crash":
        os.abort()
    if order == "exit":
        os._exit(0)
    if order == "raise":
        raise ValueError("no\x00such")
    if order == "panic":
        raise BaseException("like a native panic")
    if order == "print":
        print("x" * 10_000)  # noqa: T201
        sys.stderr.write("y" * 10_000)
    if order == "write":
        with open("file", "wb") as file:
            file.write(b"x")
    if order == "open":
        opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(1000)]
        return str(len(opened)).encode()
    if order == "big":
        return bytes(1 << 16)
    return b"fine"


NOT_CALLABLE = None


def scripted(payload: bytes) -> bytes:
    """Answer with the bytes that the source spells in its comment."""
    return bytes.fromhex(payload.partition(b"/*")[2].partition(b"*/")[0].decode())


def dies(payload: bytes) -> bytes:
    os.abort()
