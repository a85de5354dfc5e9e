"""How people are told: the channels that are configured, the outbox, and the reminders."""

from __future__ import annotations

from cryogate.config import ConfigError
from cryogate.config.secret_files import read_secret
from cryogate.config.sections import Notify
from cryogate.governance.outbox import Outbox
from cryogate.governance.prompting import Prompter, Prompts
from cryogate.notify.mail import MailChannel, Relay
from cryogate.notify.webhook import WebhookChannel
from cryogate.ports.channels import Channel
from cryogate.wiring.ground import Ground


class Telling:
    """`outbox` is None where no channel is configured: then nothing is kept for anybody."""

    def __init__(self, ground: Ground) -> None:
        notify = ground.config.notify
        try:
            channels = [*_webhook(ground, notify), *_mail(notify)]
        except ValueError as error:
            raise ConfigError(f"notify: {error}") from error
        store, clock = ground.store, ground.clock
        console = f"{ground.base_url}/console"
        self.outbox = Outbox(store, clock, channels, console) if channels else None
        prompts = Prompts(notify.remind_s * 1000, notify.escalate_s * 1000) if channels else None
        self.prompter = Prompter(store, clock, prompts)


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
