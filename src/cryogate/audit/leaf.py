"""Log entries, made fast.

`cryogate.ports.audit.leaf_bytes` says what an entry is. This gives the same bytes in a fifth of
the time for the bodies that occur, and asks it about all others:

1. A body of ASCII without a backslash and without DEL has strings that need no escaping (the
   decoder refuses control characters that are not escaped), so every JSON encoder that sorts keys
   and leaves no white space writes the same bytes.
2. Its values are strings, integers and lists of strings; floats, where encoders differ, do not
   decode into the type.
3. What encodes to the very bytes it came from is canonical.
"""

from __future__ import annotations

import msgspec

from cryogate.ports.audit import leaf_bytes

_decode = msgspec.json.Decoder(dict[str, str | int | list[str]]).decode
_encode = msgspec.json.Encoder(order="sorted").encode


def entry_bytes(body: str, seq: int) -> bytes:
    """The log entry of a stored event body at ``seq``.

    Raises:
        ValueError: ``body`` is not a canonical object, or carries a ``seq`` already.
    """
    if body.isascii() and "\\" not in body and "\x7f" not in body:
        try:
            fields = _decode(body)
        except (msgspec.MsgspecError, RecursionError):
            fields = None
        if fields is not None and "seq" not in fields and _encode(fields) == body.encode():
            fields["seq"] = seq
            return _encode(fields)
    return leaf_bytes(body.encode(), seq)
