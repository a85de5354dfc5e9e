"""What others say about the log, and when: off unless configured, and never waited for."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any

from cryogate.audit.cosigning import Cosigning
from cryogate.audit.errors import NoteRefused, TimestampRefused
from cryogate.audit.log import AuditLog
from cryogate.audit.mirror import Mirror
from cryogate.audit.note import MAX_SIGNATURES, NoteVerifier
from cryogate.audit.stamping import Stamping
from cryogate.audit.tiles import TileServer
from cryogate.audit.timestamps import MAX_CA_BYTES, MAX_TOKEN_BYTES, TsaTrust
from cryogate.audit.tlog_policy import MAX_POLICY_BYTES, Policy, parse_policy
from cryogate.audit.witness_client import WitnessClient
from cryogate.audit.witness_protocol import MAX_ANSWER_BYTES
from cryogate.config import ConfigError
from cryogate.config.sections import Outbound
from cryogate.outbound.fetcher import Fetcher
from cryogate.ports.alerts import Alerts
from cryogate.wiring.doors import operator_door
from cryogate.wiring.ground import Ground
from cryogate.wiring.heads import open_bucket

_TSA_TIMEOUT_S = 20.0
_MAX_BUCKET_ANSWER = 65_536


class Outside:
    """Made with the log, before it is started; ``tasks`` run until they are cancelled."""

    def __init__(self, ground: Ground, audit: AuditLog, alerts: Alerts) -> None:
        self._audit = audit
        self._doors: list[Fetcher] = []
        self.cosigning = self._cosigning(ground, alerts)
        self.stamping = self._stamping(ground, alerts)
        self.mirror = self._mirror(ground, alerts)

    def cosigned(self) -> bytes | None:
        """The newest head with a quorum of witnesses; None where there are none."""
        return self.cosigning.cosigned() if self.cosigning else None

    def served(self) -> bytes | None:
        """The head that others are shown."""
        return self.cosigning.served() if self.cosigning else self._audit.checkpoint()

    def tasks(self) -> Iterable[tuple[str, Coroutine[Any, Any, None]]]:
        """What runs beside the log, by name."""
        if self.cosigning is not None:
            yield "witnesses", self.cosigning.run()
        if self.stamping is not None:
            yield "time stamps", self.stamping.run()
        if self.mirror is not None:
            yield "mirror", self.mirror.run()

    def late_ms(self) -> Mapping[str, int]:
        """For how long each of them has been late; 0 for what is not configured."""
        return {
            "witnesses": self.cosigning.waiting_ms if self.cosigning else 0,
            "timestamps": self.stamping.late_ms if self.stamping else 0,
            "mirror": self.mirror.late_ms if self.mirror else 0,
        }

    async def close(self) -> None:
        """Close what is open."""
        for door in self._doors:
            await door.close()

    def _cosigning(self, ground: Ground, alerts: Alerts) -> Cosigning | None:
        config = ground.config.audit
        if not config.witnesses:
            return None
        policy = read_policy("audit.witnesses", config.witnesses, self._audit.verifiers)
        keys: dict[str, list[NoteVerifier]] = {}
        for name, key in policy.witnesses.items():
            url = policy.urls.get(name)
            if url is None:
                raise ConfigError(f"audit.witnesses: the witness {name} has no URL to ask it at")
            keys.setdefault(url.rstrip("/"), []).append(key)
        if len(policy.witnesses) + len(self._audit.verifiers) > MAX_SIGNATURES:
            raise ConfigError("audit.witnesses: a head has no room for so many signatures")
        clients = []
        for url, known in keys.items():
            door = self._door(
                "audit.witnesses", url, ground.config.outbound,
                timeout_s=config.witness_timeout_s, max_bytes=MAX_ANSWER_BYTES,
            )  # fmt: skip
            clients.append(WitnessClient(url, known, door.send))
        return Cosigning(
            self._audit,
            policy,
            clients,
            store=ground.store,
            clock=ground.clock,
            alerts=alerts,
            every_ms=config.witness_every_s * 1000,
            alert_ms=config.witness_alert_min * 60_000,
            timeout_s=config.witness_timeout_s,
        )

    def _stamping(self, ground: Ground, alerts: Alerts) -> Stamping | None:
        config = ground.config.audit
        if not config.timestamp_url:
            return None
        try:
            with Path(config.timestamp_ca_file).open("rb") as file:
                trust = TsaTrust(file.read(MAX_CA_BYTES))
        except OSError as error:
            raise ConfigError(
                f"audit.timestamp_ca_file: cannot read the file: {error.strerror}"
            ) from error
        except TimestampRefused as error:
            raise ConfigError(f"audit.timestamp_ca_file: {error}") from error
        door = self._door(
            "audit.timestamp_url", config.timestamp_url, ground.config.outbound,
            timeout_s=_TSA_TIMEOUT_S, max_bytes=MAX_TOKEN_BYTES, answers_prove_themselves=True,
        )  # fmt: skip
        return Stamping(
            self._audit.origin,
            self.served,
            trust,
            config.timestamp_url,
            door.send,
            store=ground.store,
            clock=ground.clock,
            alerts=alerts,
            every_ms=config.timestamp_every_s * 1000,
            alert_ms=config.timestamp_alert_min * 60_000,
        )

    def _mirror(self, ground: Ground, alerts: Alerts) -> Mirror | None:
        config = ground.config.audit
        if not config.mirror:
            return None
        bucket, door = open_bucket(
            ground.config, ground.clock, "audit.mirror", config.mirror, config.mirror_region,
            config.mirror_key_id, config.mirror_secret_file, _MAX_BUCKET_ANSWER,
        )  # fmt: skip
        self._doors.append(door)
        return Mirror(
            f"mirror {bucket.url}",
            bucket,
            TileServer(ground.store, self.served),
            self.served,
            keys=self._audit.verifiers,
            store=ground.store,
            clock=ground.clock,
            alerts=alerts,
            holder=ground.replica_id,
            every_ms=config.mirror_every_s * 1000,
            retention_days=config.mirror_retention_days,
            alert_ms=config.mirror_alert_min * 60_000,
        )

    def _door(
        self,
        setting: str,
        url: str,
        outbound: Outbound,
        *,
        timeout_s: float,
        max_bytes: int,
        answers_prove_themselves: bool = False,
    ) -> Fetcher:
        door = operator_door(
            setting, url, outbound, timeout_s=timeout_s, max_bytes=max_bytes,
            answers_prove_themselves=answers_prove_themselves,
        )  # fmt: skip
        self._doors.append(door)
        return door


def read_policy(setting: str, path: str, own: tuple[NoteVerifier, ...]) -> Policy:
    """The tlog-policy in a file; its logs are ours where it lists none.

    Raises:
        ConfigError: unreadable, malformed, or about other logs only.
    """
    try:
        with Path(path).open("rb") as file:
            policy = parse_policy(file.read(MAX_POLICY_BYTES + 1).decode(), own)
    except OSError as error:
        raise ConfigError(f"{setting}: cannot read {path}: {error.strerror}") from error
    except (NoteRefused, UnicodeDecodeError) as error:
        raise ConfigError(f"{setting}: {path}: {error}") from error
    ours = {key.vkey() for key in own}
    if not any(key.vkey() in ours for key in policy.logs):
        raise ConfigError(f"{setting}: {path} lists other logs, not this one: {min(ours)}")
    return policy
