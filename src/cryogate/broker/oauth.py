"""What the OAuth endpoints share: forms in, errors out (RFC 6749 sections 3.2 and 5.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final
from urllib.parse import parse_qsl

from cryogate.domain.decisions import Violation
from cryogate.domain.errors import Refused

MAX_FORM_BYTES: Final = 32_768
MAX_FIELDS: Final = 32
# What introspection is asked all day; nothing in it needs decoding.
_ONE_TOKEN: Final = re.compile(rb"token=([A-Za-z0-9._~-]{1,8192})")


class OAuthError(Refused):
    """A refusal in OAuth's words.

    ``error`` is an error code of RFC 6749 section 5.2, RFC 9396 section 5 or RFC 9449 section 5;
    ``status`` the HTTP status. ``nonce``, where present, goes into the ``DPoP-Nonce`` header, and
    ``retry_after_s`` into ``Retry-After``.
    """

    def __init__(
        self,
        error: str,
        description: str,
        status: int = 400,
        violations: Sequence[Violation] = (),
        nonce: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(error, description, violations)
        self.error = error
        self.description = description
        self.status = status
        self.nonce = nonce
        self.retry_after_s = retry_after_s

    def document(self) -> dict[str, object]:
        """The JSON body."""
        body: dict[str, object] = {
            "error": self.error,
            "error_description": _description(self.description),
        }
        if self.violations:
            body["violations"] = [asdict(v) for v in self.violations]
        return body

    def headers(self) -> dict[str, str]:
        """Header fields that go with the body; caching is never allowed."""
        fields = {"cache-control": "no-store"}
        if self.nonce is not None:
            fields["dpop-nonce"] = self.nonce
        if self.retry_after_s is not None:
            fields["retry-after"] = str(max(1, self.retry_after_s))
        return fields


def invalid_client(description: str = "client authentication failed") -> OAuthError:
    """The one answer for clients that are unknown or did not prove who they are."""
    return OAuthError("invalid_client", description, 401)


def read_form(body: bytes) -> dict[str, str]:
    """An ``application/x-www-form-urlencoded`` body, each parameter once.

    Raises:
        OAuthError: ``invalid_request``: too long, too many, not UTF-8, or one is repeated.
    """
    alone = _ONE_TOKEN.fullmatch(body)
    if alone is not None:
        return {"token": alone[1].decode("ascii")}
    if len(body) > MAX_FORM_BYTES:
        raise OAuthError("invalid_request", f"a form has at most {MAX_FORM_BYTES} bytes", 413)
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError:
        raise OAuthError("invalid_request", f"not a form of at most {MAX_FIELDS} fields") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise OAuthError("invalid_request", "a parameter is there twice")
    return fields


def only(form: Mapping[str, str], allowed: frozenset[str]) -> None:
    """Refuse parameters that this endpoint would have to ignore.

    Raises:
        OAuthError: ``invalid_request`` with the first surplus name.
    """
    surplus = sorted(form.keys() - allowed)
    if surplus:
        raise OAuthError("invalid_request", f"parameter {surplus[0][:64]} is not accepted here")


def _description(text: str) -> str:
    # RFC 6749 section 5.2 allows printable ASCII without the quote and the backslash.
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "'" for c in text)
