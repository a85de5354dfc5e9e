"""The least server that does what a request cannot do without, and nothing else.

Sums of parts that were each measured in a loop of their own flatter nobody's server: in a loop the
caches hold one thing, in a request they hold everything in turn. So the same parts also run once
a request in this server, under the same load: Starlette, raw ES256 operations, parser, one decision
of the embedded engine, one row read, and bare rows committed in groups with a sync: for a job two
groups, because its acceptance must be durable before its vendor is called and its end comes after.

``python -m bench.bare PORT echo|submit|token|poll``
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import tempfile
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import uvicorn
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.unavoidable import engine_and_question
from cryogate.circuits import Format, parse_flat

KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC = KEY.public_key()
MESSAGE = b"x" * 300
ES256 = ec.ECDSA(hashes.SHA256())
SIGNATURE = KEY.sign(MESSAGE, ES256)
#: Bytes of the rows that must be durable before the answer and the vendor's call (the job, its
#: acceptance and its intent), and after it (its end and its result); or those of a token (itself,
#: its assertion and its event).
ACCEPTED_ROWS, ENDED_ROWS, TOKEN_ROWS = (1500, 700, 700), (700, 100), (900, 100, 900)


class Rows:
    """Rows committed in groups on SQLite FULL: while one group syncs, the next gathers."""

    def __init__(self, room: Path) -> None:
        self._db = sqlite3.connect(room / "raw.db", isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT) STRICT")
        columns = ", ".join(f"c{number} TEXT" for number in range(20))
        self._db.execute(f"CREATE TABLE job (id TEXT PRIMARY KEY, {columns}) STRICT")
        for key in range(100):
            self._db.execute("INSERT INTO job VALUES (?" + ", 'x'" * 20 + ")", (f"job{key}",))
        # What was asked for must not show what a group has not committed yet.
        self._reader = sqlite3.connect(room / "raw.db", isolation_level=None)
        self._waiting: list[tuple[tuple[int, ...], asyncio.Future[None]]] = []
        self._thread = ThreadPoolExecutor(1)
        self._busy = False

    def read(self) -> None:
        self._reader.execute("SELECT * FROM job WHERE id = ?", ("job7",)).fetchone()

    async def put(self, sizes: tuple[int, ...]) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((sizes, done))
        if not self._busy:
            self._busy = True
            asyncio.get_running_loop().call_soon(self._group)
        await done

    def _group(self) -> None:
        group, self._waiting = self._waiting, []
        if not group:
            self._busy = False
            return
        self._db.execute("BEGIN IMMEDIATE")
        for sizes, _ in group:
            for size in sizes:
                self._db.execute("INSERT INTO t (body) VALUES (?)", ("x" * size,))
        loop = asyncio.get_running_loop()
        commit = loop.run_in_executor(self._thread, self._db.execute, "COMMIT")

        def told(_: object) -> None:
            for _, done in group:
                done.set_result(None)
            self._group()

        commit.add_done_callback(told)


def handlers(rows: Rows) -> dict[str, Callable[[Request], Awaitable[Response]]]:
    engine, job = engine_and_question("job:submit")
    _, grant = engine_and_question("token:issue")
    ending: set[asyncio.Task[None]] = set()

    async def echo(request: Request) -> Response:
        return _answer(await request.body())

    async def submit(request: Request) -> Response:
        body = msgspec.json.decode(await request.body())
        PUBLIC.verify(SIGNATURE, MESSAGE, ES256)
        program = parse_flat(body["program"]["source"].encode(), Format.OPENQASM2)
        assert program.fingerprint
        rows.read()
        await engine.decide(job)
        await rows.put(ACCEPTED_ROWS)
        ended = asyncio.create_task(rows.put(ENDED_ROWS))
        ending.add(ended)
        ended.add_done_callback(ending.discard)
        return _answer(b"{}")

    async def token(request: Request) -> Response:
        await request.body()
        PUBLIC.verify(SIGNATURE, MESSAGE, ES256)
        PUBLIC.verify(SIGNATURE, MESSAGE, ES256)
        await engine.decide(grant)
        await rows.put(TOKEN_ROWS)
        KEY.sign(MESSAGE, ES256)
        return _answer(b"{}")

    async def poll(request: Request) -> Response:
        PUBLIC.verify(SIGNATURE, MESSAGE, ES256)
        rows.read()
        return _answer(b"{}")

    return {"echo": echo, "submit": submit, "token": token, "poll": poll}


def _answer(body: bytes) -> Response:
    return Response(body or b"{}", media_type="application/json")


def main() -> None:
    port, what = int(sys.argv[1]), sys.argv[2]
    with tempfile.TemporaryDirectory() as room:
        route = Route("/bare", handlers(Rows(Path(room)))[what], methods=["GET", "POST"])
        config = uvicorn.Config(
            Starlette(routes=[route]), loop="uvloop", http="httptools", log_level="error",
            access_log=False, port=port,
        )  # fmt: skip
        uvicorn.Server(config).run()


if __name__ == "__main__":
    main()
