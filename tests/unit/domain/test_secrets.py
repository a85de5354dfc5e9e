"""A secret is not shown by any of the ways in which values are shown by accident."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from cryogate.domain.secrets import Secret

CANARY = "canary-4b1d"
HELD = Secret(CANARY.encode())


@dataclasses.dataclass
class Holder:
    secret: Secret


class Struct(msgspec.Struct):
    secret: Any


@pytest.mark.attack("S1")
@pytest.mark.parametrize(
    "shown",
    [
        repr, str, ascii, "{}".format, "{!r:>40}".format, lambda s: f"{s:x>60}",
        lambda s: repr(Holder(s)), lambda s: repr(Struct(s)), lambda s: repr({"a": [s]}),
        lambda s: json.dumps({"a": s}, default=str), lambda s: repr(dir(s)),
    ],
)  # fmt: skip
def test_no_representation_shows_it(shown: Callable[[Any], str]) -> None:
    assert CANARY not in shown(HELD)


@pytest.mark.attack("S1")
@pytest.mark.parametrize(
    "act",
    [
        *(lambda s, p=p: pickle.dumps(s, p) for p in range(pickle.HIGHEST_PROTOCOL + 1)),
        copy.copy, copy.deepcopy, lambda s: dataclasses.asdict(Holder(s)), json.dumps,
        msgspec.json.encode, msgspec.msgpack.encode, lambda s: msgspec.json.encode(Struct(s)),
        lambda s: s == CANARY.encode(), hash, bytes, list, vars, lambda s: s.__getstate__(),
    ],
)  # fmt: skip
def test_nothing_takes_it_out(act: Callable[[Any], object]) -> None:
    with pytest.raises((TypeError, AttributeError)) as told:
        act(HELD)
    assert CANARY not in str(told.value)


@pytest.mark.attack("S1")
def test_no_subclass_can_show_it() -> None:
    with pytest.raises(TypeError, match="no subclasses"):
        type("Loud", (Secret,), {"__repr__": lambda self: self.reveal().decode()})


@pytest.mark.attack("S1")
def test_neither_logs_nor_tracebacks_with_locals_show_it() -> None:
    stream = io.StringIO()
    logger = logging.getLogger("test.secrets")
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)

    def fails(secret: Secret) -> None:
        held = {"inside": (secret,)}
        raise RuntimeError(f"with {secret} and {held}")

    try:
        fails(HELD)
    except RuntimeError as error:
        logger.exception("failed with %s %r", HELD, [HELD])
        told = traceback.TracebackException.from_exception(error, capture_locals=True)
        stream.write("".join(told.format()))
    logger.removeHandler(handler)
    assert "Secret(…)" in stream.getvalue()
    assert CANARY not in stream.getvalue()


def test_text_is_ascii_or_an_error_without_it() -> None:
    assert HELD.text() == CANARY
    with pytest.raises(ValueError, match="no ASCII") as told:
        Secret(f"{CANARY}é".encode()).text()
    assert CANARY not in str(told.value)
