"""What runs inside a guarded worker: limits, the entry point, then one job after another.

The order is the security argument:

1. limits and "no new privileges" are set before any code but the standard library is imported;
2. the pipes to the parent are moved away from descriptors 0 and 1, which become ``/dev/null``, so
   that a library that prints cannot write into the protocol;
3. a job is read, its CPU allowance set, the entry point called, the reply written;
4. anything but a normal return ends this process: no state survives an unexpected failure.

Frames are a 4-byte big-endian length, one status byte, and the payload.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import signal
import struct
import sys
import tempfile
from collections.abc import Callable
from typing import BinaryIO

OK, ERROR, MEMORY = b"\x00", b"\x01", b"\x02"
HEADER = struct.Struct(">I")
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000


def main(settings_json: str) -> None:
    """Serve jobs until the parent closes the pipe. ``settings_json`` comes from the pool."""
    settings = json.loads(settings_json)
    _confine(settings)
    reader, writer = _private_pipes()
    try:
        entry = _load(settings["entrypoint"])
    except BaseException as error:  # a native panic is no Exception
        _send(writer, ERROR, _describe(error))
        os._exit(1)
    _send(writer, OK, b"ready")
    while (payload := _receive(reader)) is not None:
        _allow_cpu(settings["cpu_seconds"])
        status, reply = _run(entry, payload)
        _send(writer, status, reply)
        if status != OK:
            os._exit(1)
    os._exit(0)


def _confine(settings: dict[str, int]) -> None:
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        # Best effort: a network of its own, with nothing in it. Refused in some containers; the
        # other limits hold without it. First, for changed credentials undo the death signal.
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # Libraries look for a directory that they can write to when imported; there is none.
    tempfile.tempdir = os.getcwd()
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, settings["open_files"])
    _limit(resource.RLIMIT_AS, settings["memory_bytes"])


def _limit(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))


def _allow_cpu(seconds: int) -> None:
    """CPU time is counted over the life of a process, so each job moves the soft limit ahead."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(usage.ru_utime + usage.ru_stime) + seconds + 1
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _private_pipes() -> tuple[BinaryIO, BinaryIO]:
    reader, writer = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    return reader, writer


def _load(entrypoint: str) -> Callable[[bytes], bytes]:
    module, _, name = entrypoint.partition(":")
    entry: Callable[[bytes], bytes] = getattr(importlib.import_module(module), name)
    return entry


def _run(entry: Callable[[bytes], bytes], payload: bytes) -> tuple[bytes, bytes]:
    try:
        return OK, bytes(entry(payload))
    except (MemoryError, RecursionError) as error:
        return MEMORY, type(error).__name__.encode()
    except BaseException as error:  # a native panic is no Exception
        return ERROR, _describe(error)


def _describe(error: BaseException) -> bytes:
    return f"{type(error).__name__}: {error}"[:300].encode("ascii", "replace")


def _receive(reader: BinaryIO) -> bytes | None:
    head = reader.read(HEADER.size)
    if len(head) < HEADER.size:
        return None
    (size,) = HEADER.unpack(head)
    payload = reader.read(size)
    return payload if len(payload) == size else None


def _send(writer: BinaryIO, status: bytes, payload: bytes) -> None:
    writer.write(HEADER.pack(len(payload) + 1) + status + payload)
    writer.flush()
