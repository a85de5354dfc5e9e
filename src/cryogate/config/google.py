"""Google's Quantum Engine, and how its access tokens are had."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from cryogate.config.sections import Section


class Google(Section, frozen=True, kw_only=True):
    """One project. ``credentials``: where the first token comes from.

    ``key``: the key of a service account, as a secret. ``workload``: a token of this workload's own
    issuer in ``token_file``, for which Google's token service at ``audience`` gives one.
    ``service_account``: trade that token for one of this account, which lives as long as a lease.
    """

    project: Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9:.-]{0,63}\Z")] = ""
    credentials: Literal["key", "workload"] = "key"
    service_account: Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9@.-]{0,255}\Z")] = ""
    audience: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9/._-]{0,512}\Z")] = ""
    token_file: str = ""
    url: str = "https://quantum.googleapis.com"
    token_url: str = "https://oauth2.googleapis.com/token"  # noqa: S105 - a URL
    sts_url: str = "https://sts.googleapis.com/v1/token"
    iam_url: str = "https://iamcredentials.googleapis.com"
