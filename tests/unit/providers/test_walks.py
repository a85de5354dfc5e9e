"""One walk through a vendor's list for all who look for jobs at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from cryogate.providers.walks import Walks


class List:
    """A vendor's list, which opens a page at a time when told to."""

    def __init__(self, *tags: str) -> None:
        self.tags = list(tags)
        self.walks = self.read = 0
        self.go = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> AsyncIterator[tuple[str, str]]:
        self.walks += 1
        for tag in list(self.tags):
            await self.go.wait()
            self.read += 1
            yield tag, f"v-{tag}"
        if self.error is not None:
            raise self.error


async def test_all_who_ask_before_it_begins_share_a_walk() -> None:
    walks, vendor = Walks(), List("a", "b", "c")
    vendor.go.set()
    asked = (walks.find("here", tag, vendor) for tag in ("b", "c", "x", "b"))
    assert await asyncio.gather(*asked) == ["v-b", "v-c", None, "v-b"]
    assert vendor.walks == 1


async def test_a_no_is_never_older_than_the_question() -> None:
    walks, vendor = Walks(), List("a")
    first = asyncio.create_task(walks.find("here", "x", vendor))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert vendor.walks == 1  # under way, and it has copied the list by now
    late = asyncio.create_task(walks.find("here", "b", vendor))
    await asyncio.sleep(0)
    vendor.tags.append("b")
    vendor.go.set()
    assert await first is None
    assert await late == "v-b"
    assert vendor.walks == 2


async def test_a_walk_ends_when_all_is_found() -> None:
    walks, vendor = Walks(), List("a", "b", "c")
    vendor.go.set()
    assert await walks.find("here", "a", vendor) == "v-a"
    assert vendor.read == 1


async def test_a_walk_that_fails_says_nothing() -> None:
    walks, vendor = Walks(), List("a")
    vendor.go.set()
    vendor.error = ConnectionError("gone")
    asked = (walks.find("here", tag, vendor) for tag in ("x", "y"))
    assert all(
        isinstance(found, ConnectionError)
        for found in await asyncio.gather(*asked, return_exceptions=True)
    )
    vendor.error = None
    assert await walks.find("here", "x", vendor) is None


async def test_who_gives_up_leaves_the_walk_to_the_others() -> None:
    walks, vendor = Walks(), List("a")
    patient = asyncio.create_task(walks.find("here", "a", vendor))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await walks.find("here", "x", vendor)
    vendor.go.set()
    assert await patient == "v-a"


async def test_other_accounts_have_other_lists() -> None:
    walks, ours, theirs = Walks(), List("a"), List("b")
    ours.go.set()
    theirs.go.set()
    found = await asyncio.gather(walks.find("1", "b", ours), walks.find("2", "b", theirs))
    assert list(found) == [None, "v-b"]
