"""How people are told: the channels that are configured, the outbox, and the reminders."""

from __future__ import annotations

from cryogate.audit.keys import load_or_create_webhook
from cryogate.config import ConfigError
from cryogate.config.secret_files import read_secret
from cryogate.config.sections import Notify
from cryogate.governance.approval_desk import ApprovalDesk
from cryogate.governance.device_asks import DeviceAsks
from cryogate.governance.outbox import Outbox
from cryogate.governance.prompting import Prompter, Prompts
from cryogate.notify.ciba import Ciba, CibaClient
from cryogate.notify.hooks import HookChannel
from cryogate.notify.mail import MailChannel, Relay
from cryogate.notify.webhook import WebhookChannel
from cryogate.outbound.message_signatures import MessageSigner
from cryogate.ports.channels import Channel
from cryogate.server.endpoints import Endpoint
from cryogate.server.hook_routes import HookRoutes
from cryogate.wiring.ground import Ground
from cryogate.wiring.people import client_credentials


class Telling:
    """`outbox` is None where no channel is configured: then nothing is kept for anybody."""

    def __init__(self, ground: Ground, desk: ApprovalDesk) -> None:
        notify = ground.config.notify
        self.devices = _devices(ground, notify, desk)
        self._signer: MessageSigner | None = None
        try:
            channels: list[Channel] = [
                *_webhook(ground, notify),
                *_job_webhooks(ground, notify),
                *self._hook_channels(ground),
                *_mail(notify),
            ]
        except ValueError as error:
            raise ConfigError(f"notify: {error}") from error
        if self.devices is not None:
            channels.append(self.devices)
        self._ground = ground
        store, clock = ground.store, ground.clock
        console = f"{ground.base_url}/console"
        self.outbox = Outbox(store, clock, channels, console, ground.opener) if channels else None
        prompts = Prompts(notify.remind_s * 1000, notify.escalate_s * 1000) if channels else None
        self.prompter = Prompter(store, clock, prompts)

    async def open(self) -> None:
        """Load what signs webhooks, where any may be named.

        Raises:
            CryogateError: the key cannot be opened, or the store did not answer.
        """
        ground = self._ground
        if ground.hooks.any:
            origin = ground.config.audit.origin
            key = await load_or_create_webhook(ground.store, ground.sealer, ground.clock, origin)
            self._signer = MessageSigner(key)

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where the key is published, if there is one."""
        signer = self._signer
        return () if signer is None else HookRoutes(lambda: signer.jwk).endpoints()

    def _hook_channels(self, ground: Ground) -> list[Channel]:
        if not ground.hooks.any:
            return []
        send, now_ms = ground.fetcher.send, ground.clock.now_ms
        return [
            HookChannel(name, ground.hooks, send, self._signing, now_ms)
            for name in ("hook:job", "hook:experiment")
        ]

    def _signing(self) -> MessageSigner:
        if self._signer is None:
            raise RuntimeError("open it first")
        return self._signer


def _webhook(ground: Ground, notify: Notify) -> list[Channel]:
    if not notify.webhook_url:
        return []
    return [
        WebhookChannel(
            url=ground.fetcher.check(notify.webhook_url),
            secret=read_secret("notify.webhook_secret_file", notify.webhook_secret_file),
            send=ground.fetcher.send,
            now_ms=ground.clock.now_ms,
        )
    ]


def _job_webhooks(ground: Ground, notify: Notify) -> list[Channel]:
    """Each with a secret of its own: whoever hears of one experiment cannot speak for another."""
    made = list[Channel]()
    for entry in notify.job_webhooks:
        words = entry.split()
        if len(words) != 3:
            raise ConfigError("notify.job_webhooks: each is EXPERIMENT URL SECRET_FILE")
        experiment, url, secret_file = words
        made.append(
            WebhookChannel(
                url=ground.fetcher.check(url),
                secret=read_secret("notify.job_webhooks", secret_file),
                send=ground.fetcher.send,
                now_ms=ground.clock.now_ms,
                name=f"jobs:{experiment}",
                experiment=experiment,
            )
        )
    return made


def _mail(notify: Notify) -> list[Channel]:
    if not notify.smtp_host:
        return []
    password = ""
    if notify.smtp_user:
        password = read_secret("notify.smtp_password_file", notify.smtp_password_file)
    relay = Relay(
        host=notify.smtp_host,
        port=notify.smtp_port,
        security=notify.smtp_security,
        user=notify.smtp_user,
        password=password,
        ca_file=notify.smtp_ca_file,
    )
    urgent = notify.mail_urgent_to
    return [MailChannel(relay, sender=notify.mail_from, to=notify.mail_to, urgent_to=urgent)]


def _devices(ground: Ground, notify: Notify, desk: ApprovalDesk) -> DeviceAsks | None:
    oidc = ground.config.oidc
    if not notify.devices:
        return None
    if not oidc.issuer:
        raise ConfigError("notify.devices needs oidc.issuer: it asks through that provider")
    try:
        client = CibaClient(oidc.issuer, oidc.client_id, *client_credentials(oidc))
    except ValueError as error:
        raise ConfigError(f"notify.devices: {error} (oidc.client_…_file)") from error
    back = Ciba(client, ground.fetcher, ground.issuers, ground.clock)
    return DeviceAsks(ground.store, ground.clock, back, desk)
