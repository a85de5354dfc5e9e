"""An answer 503 claims no more than is known."""

from __future__ import annotations

import json

import pytest
from starlette.requests import Request

from cryogate.domain.errors import Unavailable
from cryogate.ports.revocations import RevokedUnread
from cryogate.server.problems import on_unavailable


@pytest.mark.parametrize(
    ("method", "error", "said"),
    [
        ("GET", Unavailable("canary"), "there is no answer now"),
        ("POST", Unavailable("canary"), "it may have been done or not"),
        ("POST", RevokedUnread("canary"), "the revocation is on record and stands"),
    ],
)
async def test_what_is_said(method: str, error: Unavailable, said: str) -> None:
    scope = {"type": "http", "method": method, "path": "/x", "headers": [], "query_string": b""}
    answer = await on_unavailable(Request(scope), error)
    detail = json.loads(bytes(answer.body))["detail"]
    assert answer.status_code == 503
    assert detail.startswith(said)
    assert "canary" not in detail
