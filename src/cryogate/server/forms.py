"""HTML forms: size-limited, parsed once, every field known to be text and sent once."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.requests import Request

from cryogate.domain.errors import Malformed
from cryogate.server.bodies import read_body

MAX_FORM_BYTES = 16 << 10
_MOST_FIELDS = 32
_MEDIA = "application/x-www-form-urlencoded"


async def read_form(request: Request) -> Mapping[str, str]:
    """The fields of a posted form.

    Raises:
        Malformed: not a form of reasonable size, not UTF-8, or a field sent twice.
    """
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != _MEDIA:
        raise Malformed("content_type", f"send the form as {_MEDIA}")
    body = await read_body(request, MAX_FORM_BYTES)
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(body),
            encoding="utf-8", errors="strict", max_num_fields=_MOST_FIELDS,
        )  # fmt: skip
    except ValueError as error:  # also a UnicodeDecodeError
        raise Malformed("malformed_form", "the form cannot be read") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Malformed("malformed_form", "a field is there twice")
    return fields
