"""Calls to vendors: what one lease's answer leaves behind for the next."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cryogate.dev.serving import served
from cryogate.ports.provider import ProviderError
from cryogate.providers.http import VendorHttp, before_the_job, unless_over


@pytest.mark.attack("S1")
async def test_a_login_that_an_answer_sets_does_not_travel_with_the_next_request() -> None:
    seen: list[str] = []

    async def answer(request: Request) -> Response:
        seen.append(request.headers.get("cookie", ""))
        made = JSONResponse({})
        made.set_cookie("session", "of-somebody")
        return made

    with served(Starlette(routes=[Route("/x", answer)])) as url:
        http = VendorHttp(url, setting="test.url")
        await http.call("GET", "/x", headers={"cookie": "mine=1"})
        await http.call("GET", "/x")
        await http.close()
    assert seen == ["mine=1", ""]


async def test_a_job_that_is_over_stays_over() -> None:
    async def refused(status: int) -> None:
        raise ProviderError("no", sent=False, retryable=False, status=status)

    await unless_over(refused(409))
    with pytest.raises(ProviderError):
        await unless_over(refused(404))


@pytest.mark.parametrize("retryable", [True, False])
def test_what_fails_before_the_job_has_made_none(retryable: bool) -> None:
    told = before_the_job(ProviderError("no", sent=True, retryable=retryable, status=503))
    assert (told.sent, told.retryable, told.status) == (False, retryable, 503)
