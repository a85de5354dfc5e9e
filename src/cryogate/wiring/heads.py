"""Where the second copy of the log's head is: a directory, another database, an object store."""

from __future__ import annotations

from cryogate.audit.heads import FileHeadStore, HeadStore
from cryogate.audit.heads_elsewhere import BucketHeadStore, TableHeadStore
from cryogate.audit.note import MAX_NOTE_BYTES
from cryogate.config import Config, ConfigError
from cryogate.config.secret_files import read_secret
from cryogate.domain.secrets import Secret
from cryogate.outbound import s3
from cryogate.outbound.fetcher import Fetcher
from cryogate.outbound.sigv4 import AwsKeys
from cryogate.ports.clock import Clock
from cryogate.storage import open_store
from cryogate.wiring.doors import operator_door

_TIMEOUT_S = 10.0


def open_heads(config: Config, clock: Clock) -> HeadStore:
    """The head store that is configured; not opened yet.

    Raises:
        ConfigError: it cannot be used; names the setting.
    """
    url = config.heads_url
    if not url:
        return FileHeadStore(config.heads)
    if not url.startswith("s3+"):
        try:
            return TableHeadStore(open_store(url, clock), config.audit.origin)
        except ValueError as error:
            raise ConfigError(f"audit.heads: {error}") from error
    audit = config.audit
    bucket, door = open_bucket(
        config, clock, "audit.heads", url, audit.heads_region, audit.heads_key_id,
        audit.heads_secret_file, MAX_NOTE_BYTES + 4096,
    )  # fmt: skip
    return _Owned(bucket, door)


class _Owned(BucketHeadStore):
    """Closes its own way to the network."""

    def __init__(self, bucket: s3.Bucket, door: Fetcher) -> None:
        super().__init__(bucket)
        self._door = door

    async def close(self) -> None:
        """See `HeadStore.close`."""
        await self._door.close()


def open_bucket(
    config: Config,
    clock: Clock,
    setting: str,
    url: str,
    region: str,
    key_id: str,
    secret_file: str,
    max_bytes: int,
) -> tuple[s3.Bucket, Fetcher]:
    """A bucket and the way to it, which the caller closes.

    Raises:
        ConfigError: it cannot be used; names the setting.
    """
    try:
        place = s3.place(url)
    except ValueError as error:
        raise ConfigError(f"{setting}: {error}") from error
    if not region or not key_id.isalnum():
        raise ConfigError(f"{setting}: an object store needs {setting}_region and {setting}_key_id")
    secret = Secret(read_secret(f"{setting}_secret_file", secret_file).encode())
    door = operator_door(setting, place, config.outbound, timeout_s=_TIMEOUT_S, max_bytes=max_bytes)
    keys = AwsKeys(key_id, secret)
    return s3.Bucket(place, region, keys, door.send, clock.now_ms), door
