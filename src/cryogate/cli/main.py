"""The root of the ``cryogate`` command. A noun's module is imported only when it is named."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

from cryogate import __version__
from cryogate.cli.options import settings_of
from cryogate.domain.errors import CryogateError

INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it

# noun → (module, attribute, one line of help). The help is here so that listing imports nothing.
NOUNS: Mapping[str, tuple[str, str, str]] = {
    "up": ("up", "up", "Start the server and say what to do next."),
    "agent": ("agent", "group", "Agents: create, list, change, revoke."),
    "experiment": ("experiment", "group", "Experiments: what work is for."),
    "budget": ("budget", "group", "Budgets and limits, in money and shots; what a month cost."),
    "prices": ("prices", "group", "Prices: what is in force, from where, how old."),
    "approval": ("approval", "group", "Approvals: jobs that wait for a person."),
    "token": ("token", "group", "Access tokens: show, list, revoke."),
    "session": ("session", "group", "Sessions at the gateway."),
    "job": ("job", "group", "Jobs: submit, watch, read results."),
    "backend": ("backend", "group", "Backends an agent may use."),
    "circuit": ("circuit", "group", "Circuits: what the gateway would see."),
    "alert": ("alert", "group", "Alerts: what somebody should look at."),
    "revocation": ("revocation", "group", "Revocations in force."),
    "policy": ("policy", "group", "Policy: what is in force, and what it would say."),
    "audit": ("audit", "group", "The audit log: read, export, verify."),
    "provenance": ("provenance", "group", "Provenance: what a result was made of, signed."),
    "secret": ("secret", "group", "Vendors' credentials and leases of them."),
    "keys": ("keys", "group", "The server's signing keys."),
    "operator": ("operator", "group", "Operators: people, their passwords and sessions."),
    "dev": ("dev", "group", "Things to try Cryogate with."),
    "config": ("config", "group", "Configuration: check and explain."),
}


class Root(click.Group):
    """Loads nouns late, and turns every error of ours into text and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The nouns, in the order in which one meets them."""
        return list(NOUNS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The noun's command, imported now."""
        if cmd_name not in NOUNS:
            return None
        module, attribute, _ = NOUNS[cmd_name]
        found: click.Command = getattr(importlib.import_module(f"cryogate.cli.{module}"), attribute)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of nouns, without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl([(noun, text) for noun, (_, _, text) in NOUNS.items()])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Note ``--json`` early, so that even a usage error is told in it."""
        settings_of(ctx).as_json = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; errors become a report and an exit code."""
        settings = settings_of(ctx)
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            if not settings.as_json:
                raise
            from cryogate.cli.failure import USAGE, problem
            from cryogate.domain.errors import Malformed
            from cryogate.domain.safe_text import to_json

            told = {**problem(Malformed("usage", error.format_message())), "exit": USAGE}
            click.echo(to_json(told), err=True)
            ctx.exit(USAGE)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except CryogateError as error:
            from cryogate.cli.failure import exit_code, report

            report(settings, error)
            ctx.exit(exit_code(error))


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="cryogate")
def cli() -> None:
    """Give AI agents quantum hardware without giving them the keys.

    Every command takes --json. Exit codes: 0 ok, 1 refused, 2 usage, 3 unavailable,
    4 verification failed.
    """


def main() -> None:
    """Entry point."""
    cli(prog_name="cryogate")


if __name__ == "__main__":
    main()
