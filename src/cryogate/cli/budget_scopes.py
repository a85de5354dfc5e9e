"""Whose budget is meant: ``agent:ghz-bot``, ``cost_center:R&D``, or just an experiment's name."""

from __future__ import annotations

import click

SCOPES = ("experiment", "agent", "owner", "cost_center", "token", "session")


def scope_of(whose: str) -> tuple[str, str]:
    """Scope and subject of ``scope:subject``; a name without a scope is an experiment's.

    Raises:
        ValueError: an unknown scope, or no subject.
    """
    scope, colon, subject = whose.partition(":")
    if not colon:
        scope, subject = "experiment", whose
    scope = scope.replace("-", "_")
    if scope not in SCOPES or not subject:
        raise ValueError(f"write one of {', '.join(s + ':NAME' for s in SCOPES)}")
    return scope, subject


class WhoseParam(click.ParamType[str]):
    """A click parameter that names a scope and its subject."""

    name = "whose"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """The text, or a usage error."""
        try:
            scope_of(str(value))
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)
        return str(value)


WHOSE = WhoseParam()
