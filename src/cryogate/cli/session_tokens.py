"""The token of a session that was opened here, kept for the commands that follow.

A session lives under one token, and every command is a process of its own. The token is bound to
the agent's key, so who finds the file without the key can do nothing with it; it is still kept as
the key is: a private file, in the user's runtime directory where there is one.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from cryogate.client.client import Client
from cryogate.client.identity import read_private_file
from cryogate.client.protocol import Token
from cryogate.domain.errors import Malformed
from cryogate.domain.ids import SESSION, is_minted


def keep(client: Client, session_id: str) -> None:
    """Remember the client's token for ``session_id``. Best effort: without it, only this process
    can use the session.
    """
    token = client.token()
    fields = {
        "client_id": client.client_id,
        "url": client.url,
        "token": token.value,
        "renew_ms": token.renew_ms,
        "expires_ms": token.expires_ms,
        "life_s": token.life_s,
    }
    with contextlib.suppress(OSError):
        path = _path(session_id)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "w") as file:
            json.dump(fields, file)


def adopt(client: Client, session_id: str) -> None:
    """Let the client use the token that ``session_id`` was opened under, if it is known here."""
    if not is_minted(session_id, SESSION):
        raise Malformed("malformed_id", "a session id is ses_ and 26 letters and digits")
    try:
        fields = json.loads(read_private_file(_path(session_id)))
        mine = fields["client_id"] == client.client_id and fields["url"] == client.url
        token = Token(
            str(fields["token"]),
            int(fields["renew_ms"]),
            int(fields["expires_ms"]),
            int(fields["life_s"]),
            "",
            (),
        )
    except (Malformed, ValueError, KeyError, TypeError):
        return
    # A token is shown to nobody but the server and the client that it was given to.
    if mine:
        client.adopt(token)


def forget(session_id: str) -> None:
    """Remove what is kept for ``session_id``."""
    with contextlib.suppress(OSError):
        _path(session_id).unlink()


def _path(session_id: str) -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / "cryogate" / f"{session_id}.json"
    cache = os.environ.get("XDG_CACHE_HOME")
    base = Path(cache) if cache else Path.home() / ".cache"
    return base / "cryogate" / "sessions" / f"{session_id}.json"
