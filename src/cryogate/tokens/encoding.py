"""base64url and JSON, each read in exactly one spelling.

What may never change: `unb64` followed by `b64` gives back the input, so two different texts
never mean the same bytes; and no JSON object names a member twice, so two readers can never see
two different values (RFC 8725 section 2.4, RFC 7515 section 4).
"""

from __future__ import annotations

import binascii
import json
from typing import NoReturn, TypeVar

import msgspec

from cryogate.tokens.errors import MalformedToken

T = TypeVar("T")


def b64(data: bytes) -> str:
    """base64url without padding (RFC 7515 section 2)."""
    text = binascii.b2a_base64(data, newline=False).rstrip(b"=")
    return text.replace(b"+", b"-").replace(b"/", b"_").decode("ascii")


def unb64(text: str) -> bytes:
    """The bytes of ``text``.

    Raises:
        MalformedToken: padding, a foreign character, or bits left over at the end.
    """
    try:
        raw = text.encode("ascii").replace(b"-", b"+").replace(b"_", b"/")
        data = binascii.a2b_base64(raw + b"=="[: -len(raw) % 4])
    except (UnicodeEncodeError, binascii.Error):
        raise MalformedToken("not base64url") from None
    # The decoder above skips what it does not know; encoding again is what makes it strict.
    if b64(data) != text:
        raise MalformedToken("not base64url in its one spelling")
    return data


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedToken("a JSON member is named twice")
    return members


def _no_constant(name: str) -> NoReturn:
    raise MalformedToken(f"{name} is not JSON")


_UNIQUE = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


def parse_object(data: bytes) -> dict[str, object]:
    """A JSON object of any members, each once.

    Raises:
        MalformedToken: not UTF-8, not JSON, not an object, or a member is named twice.
    """
    value = _decode(data)
    if not isinstance(value, dict):
        raise MalformedToken("not a JSON object")
    return value


def parse_as(data: bytes, kind: msgspec.json.Decoder[T]) -> T:
    """``data`` as the type that ``kind`` decodes to, strictly: no ``"1"`` or ``1.0`` for 1.

    Raises:
        MalformedToken: not JSON of this type, or a member is named twice.
    """
    try:
        value = kind.decode(data)
    except msgspec.ValidationError as error:
        _decode(data)
        raise MalformedToken(str(error)) from None
    except (msgspec.DecodeError, RecursionError):
        raise MalformedToken("not JSON") from None
    if not _plainly_once(data, value):
        _decode(data)
    return value


def _plainly_once(data: bytes, value: object) -> bool:
    """Whether it can be seen without reading ``data`` again that it names no member twice.

    Without escapes, each member that was read took two quotation marks for its name, and two more
    if its value is a string. If there are no others, nothing was named twice or left unread.
    """
    if not isinstance(value, msgspec.Struct) or b"\\" in data or not data.isascii():
        return False
    pairs = 0
    for member in msgspec.structs.astuple(value):
        if type(member) is str:
            pairs += 2
        elif type(member) is int:
            pairs += 1
        elif member is not None:
            return False
    return data.count(b'"') == 2 * pairs


def _decode(data: bytes) -> object:
    try:
        return _UNIQUE.decode(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise MalformedToken("not JSON") from None
