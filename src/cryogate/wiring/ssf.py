"""Shared signals, as configured: one transmitter that is heard, any number of receivers."""

from __future__ import annotations

from cryogate.broker.revoke import RevocationService
from cryogate.broker.ssf_emit import SsfEmitter
from cryogate.broker.ssf_receive import SsfReceiver
from cryogate.config import ConfigError
from cryogate.config.secret_files import read_secret
from cryogate.domain.errors import Malformed
from cryogate.domain.secrets import Secret
from cryogate.ports.keys import SigningKeys
from cryogate.server.endpoints import Endpoint
from cryogate.server.ssf_routes import PATH, SsfRoutes
from cryogate.wiring.ground import Ground
from cryogate.wiring.people import People
from cryogate.wiring.watch import Watch


class SharedSignals:
    """``emitters`` are to be run, and nudged when something is revoked."""

    def __init__(
        self,
        ground: Ground,
        watch: Watch,
        people: People,
        revocations: RevocationService,
        keys: SigningKeys,
    ) -> None:
        config, issuer = ground.config.ssf, ground.base_url
        receiver = None
        if config.transmitter:
            receiver = SsfReceiver(
                store=ground.store,
                clock=ground.clock,
                keys=ground.issuers,
                revocations=revocations,
                sessions=people.sessions,
                alerts=watch.alerts,
                issuer=_url(ground, "ssf.transmitter", config.transmitter),
                audience=config.audience or issuer + PATH,
                jwks_uri=config.transmitter_jwks_uri or None,
                secret=_secret("ssf.transmitter_secret_file", config.transmitter_secret_file),
            )
        self._routes = SsfRoutes(receiver, issuer)
        self.emitters = tuple(
            SsfEmitter(
                store=ground.store,
                clock=ground.clock,
                signer=keys,
                alerts=watch.alerts,
                send=ground.fetcher.send,
                issuer=issuer,
                url=_url(ground, "ssf.receivers", url),
                audience=url,
                secret=_secret("ssf.receiver_secret_file", config.receiver_secret_file),
            )
            for url in config.receivers
        )

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where events come in, and what is said of ours."""
        return self._routes.endpoints()


def _secret(setting: str, path: str) -> Secret | None:
    return Secret(read_secret(setting, path).encode()) if path else None


def _url(ground: Ground, setting: str, url: str) -> str:
    try:
        return ground.fetcher.check(url)
    except Malformed as error:
        raise ConfigError(f"{setting}: {error.detail}") from error
