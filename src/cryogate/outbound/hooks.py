"""Which webhooks an agent, or an experiment's owner, may name: hosts that the operator has listed.

(1) Nothing is listed, nothing may be named.
(2) A host is listed by its name, or by ``*.`` and what it ends with; with a port, that port only,
    else 443 only.
(3) A URL has one spelling: https, lower case host, a path, no dots to climb with, no query parts
    that would be written otherwise on the way. So what is signed is what is sent.
(4) The address is judged when it is called, not here: a listed name may lead elsewhere later (P4).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from cryogate.domain.decisions import Violation
from cryogate.domain.errors import Forbidden, Malformed

MAX_HOOK: Final = 512
_URL: Final = re.compile(
    r"https://((?:[a-z0-9-]{1,63}\.)*[a-z0-9-]{1,63})(?::([1-9][0-9]{1,4}))?"
    r"(/[A-Za-z0-9._~!$&()*+,;=:@/%-]*)(\?[A-Za-z0-9._~!$&()*+,;=:@/%-]*)?",
    re.ASCII,
)
_HOST: Final = re.compile(r"(?:\*\.)?(?:[a-z0-9-]{1,63}\.)*[a-z0-9-]{1,63}(?::[1-9][0-9]{1,4})?")
_DOTS: Final = re.compile(r"/\.{1,2}(?:/|\Z)|%2e|%2f|%5c", re.IGNORECASE)
_HTTPS: Final = "443"


class Hooks:
    """The operator's list.

    Raises:
        ValueError: an entry is no host.
    """

    def __init__(self, hosts: Sequence[str] = ()) -> None:
        for host in hosts:
            if _HOST.fullmatch(host) is None:
                raise ValueError(
                    f"{host!r} is no host: name it as hooks.example.org or *.example.org"
                )
        self._hosts = tuple(hosts)

    @property
    def any(self) -> bool:
        """Whether anything may be named at all (1)."""
        return bool(self._hosts)

    def check(self, url: str) -> str:
        """``url`` itself, if it may be named.

        Raises:
            Malformed: it is not spelled as (3) wants.
            Forbidden: its host is not listed.
        """
        match = _URL.fullmatch(url)
        if match is None or len(url) > MAX_HOOK or match[2] == _HTTPS or _DOTS.search(match[3]):
            raise Malformed(
                "malformed_webhook",
                f"a webhook is https://host/path, in lower case and without a fragment, "
                f"credentials or dot segments, and at most {MAX_HOOK} characters",
            )
        host, port = match[1], match[2] or _HTTPS
        if not any(_listed(host, port, entry) for entry in self._hosts):
            hint = "use a host that the operators list in notify.webhook_hosts"
            raise Forbidden(
                "webhook_not_allowed",
                "webhooks may not lead there",
                [Violation("webhook_hosts", self._hosts, f"{host}:{port}", hint)],
            )
        return url


def host_of(url: str) -> str:
    """What may be told of a webhook: its host. The rest may be a secret of the receiver's."""
    return url.removeprefix("https://").partition("/")[0] or "none"


def _listed(host: str, port: str, entry: str) -> bool:
    name, _, wanted = entry.partition(":")
    if port != (wanted or _HTTPS):
        return False
    if name.startswith("*."):
        return host.endswith(name[1:]) and host != name[2:]
    return host == name
