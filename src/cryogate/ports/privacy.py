"""Reading what the log only commits to: for those who may, while the key is there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec


class Opening(msgspec.Struct, frozen=True):
    """What shows that a commitment is to ``value``: anybody can check it, without a key."""

    field: str
    value: str
    salt: str


class EventReader(ABC):
    """Opens what is sealed in events. What cannot be opened stays as it stands in the log."""

    @abstractmethod
    async def clear(self, events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The events with their values in place of the commitments, in the same order.

        Raises:
            StoreUnavailable: the database did not answer.
        """

    @abstractmethod
    async def openings(self, events: Sequence[Mapping[str, Any]]) -> dict[str, Opening]:
        """The openings of all commitments in ``events`` that can be had, by commitment.

        Raises:
            StoreUnavailable: the database did not answer.
        """
