"""`Operator`: the same protocol with an operator's key, for the admin API.

An operator's token has another audience than an agent's, so neither works at the other's door.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from cryogate.client.client import decode
from cryogate.client.closing import Closing
from cryogate.client.errors import Unavailable
from cryogate.client.identity import Identity
from cryogate.client.messages import Call, Reply, origin_of
from cryogate.client.protocol import Session, Token
from cryogate.client.transport import ClientTls, Transport
from cryogate.domain.errors import Malformed

Document = dict[str, Any]


class Operator(Closing):
    """A human's, or their automation's, connection to the admin and audit APIs."""

    def __init__(
        self,
        url: str,
        key: Identity,
        *,
        insecure_http: bool = False,
        ca_file: str | None = None,
    ) -> None:
        self.url = origin_of(url, insecure_http=insecure_http)
        self.client_id = key.client_id
        wanted = {"scope": "admin"}
        self._session = Session(
            self.url, key, wanted, lambda: time.time_ns() // 1_000_000, random.random
        )
        self._transport = Transport(self.url, tls=ClientTls(ca_file))

    def call(
        self,
        method: str,
        *path: str,
        query: Mapping[str, str | int | None] | None = None,
        body: object = None,
    ) -> Document:
        """One call. Each part of ``path`` is escaped, so no name can lead to another endpoint.

        Only reads are repeated when an answer is lost.
        """
        decoded = decode(self.raw(method, *path, query=query, body=body), _ANY)
        if not isinstance(decoded, dict):
            raise Unavailable("the server's answer is not a JSON object")
        return decoded

    def raw(
        self,
        method: str,
        *path: str,
        query: Mapping[str, str | int | None] | None = None,
        body: object = None,
    ) -> Reply:
        """As `call`, for answers that are not JSON or are empty."""
        asked = {name: str(value) for name, value in (query or {}).items() if value is not None}
        if not all(part.strip(".") for part in path):
            raise Malformed("malformed_name", "a name cannot be empty or made of dots")
        target = "".join("/" + quote(part, safe="") for part in path)
        target += f"?{urlencode(asked)}" if asked else ""
        return self._transport.drive(
            self._session.converse(Call(method, target, body, repeatable=method == "GET"))
        )

    def token(self) -> Token:
        """The token in hand, fetched or renewed when need be."""
        return self._transport.drive(self._session.authorize())

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __repr__(self) -> str:
        return f"Operator({self.url!r}, {self.client_id!r})"


_ANY: Any = object
