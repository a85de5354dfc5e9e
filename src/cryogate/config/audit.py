"""The audit log and what others say about it (``[audit]``)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from cryogate.config.sections import Section


class Audit(Section, frozen=True, kw_only=True):
    """The log's name in its checkpoints (C2SP origin), the second store of its head, and
    whether heads are signed with ML-DSA-44 beside Ed25519.

    ``heads`` is a directory, ``sqlite:///…``, ``postgresql://…`` or ``s3+https://…``; the key
    that goes with the last has an id and a secret in a file.

    ``timestamp_url`` is a time-stamping authority (RFC 3161), believed under ``timestamp_ca_file``.
    ``retention_file`` is the written policy under which entries may be pruned; without it none may.
    ``mirror`` is a bucket with Object Lock; its objects cannot be removed for the retention.
    ``witnesses`` is a file in C2SP tlog-policy: who cosigns the heads, where, and which quorum.
    """

    origin: str = "cryogate.local/log"
    heads: str = ""
    heads_region: str = ""
    heads_key_id: str = ""
    heads_secret_file: str = ""
    mldsa44: bool = True
    retention_file: str = ""
    witnesses: str = ""
    witness_every_s: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 10
    witness_timeout_s: Annotated[int, msgspec.Meta(ge=1, le=60)] = 10
    witness_alert_min: Annotated[int, msgspec.Meta(ge=1, le=10_080)] = 15
    timestamp_url: str = ""
    timestamp_ca_file: str = ""
    timestamp_every_s: Annotated[int, msgspec.Meta(ge=10, le=604_800)] = 3600
    timestamp_alert_min: Annotated[int, msgspec.Meta(ge=1, le=43_200)] = 180
    mirror: str = ""
    mirror_region: str = ""
    mirror_key_id: str = ""
    mirror_secret_file: str = ""
    mirror_every_s: Annotated[int, msgspec.Meta(ge=10, le=86_400)] = 300
    mirror_retention_days: Annotated[int, msgspec.Meta(ge=183, le=36_500)] = 183
    mirror_alert_min: Annotated[int, msgspec.Meta(ge=1, le=43_200)] = 60
