"""``cryogate audit verify`` and ``export``: the log itself, without asking a server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cryogate.cli.files import read_at_most
from cryogate.cli.options import As, Settings, command
from cryogate.cli.output import emit, fields, note, say, table
from cryogate.cli.progress import counting
from cryogate.cli.remote_log import is_url

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cryogate.audit.sealing import ScopeKeys
    from cryogate.audit.timestamps import Stamped, TsaTrust
    from cryogate.audit.tlog_policy import Policy
    from cryogate.audit.verify import VerifyReport
    from cryogate.cli.local_log import Trust
    from cryogate.config import Config
    from cryogate.ports.store import ReadStore

_PATH = click.Path(path_type=Path)
_MAX_HEAD_BYTES = 128 << 10
COSIGNED = "the cosigned head"
_KEY_HELP = "Trusted key (name+id+key) or a file with it, from elsewhere than the log."


@click.argument("place", required=False)
@click.option("--vkey", "keys", multiple=True, metavar="KEY", help=_KEY_HELP)
@click.option("--head", "heads", multiple=True, type=_PATH, help="A signed head kept elsewhere.")
@click.option("--policy", "policy_file", type=_PATH, help="Logs and a quorum (C2SP tlog-policy).")
@click.option("--tsa-ca", type=_PATH, help="Certificates (PEM) of a time-stamping authority.")
@click.option("--skip-sealed", is_flag=True, help="Do not open what the log commits to.")
@click.option("--config", "config_path", type=_PATH, help="The server's TOML file.")
def verify(
    settings: Settings,
    place: str | None,
    keys: tuple[str, ...],
    heads: tuple[Path, ...],
    policy_file: Path | None,
    tsa_ca: Path | None,
    skip_sealed: bool,
    config_path: Path | None,
) -> None:
    """Verify the whole log: of the state directory, or at PLACE, a directory or a URL.

    A directory is one that `audit export` wrote, or a mirror; a URL is a server's `/audit`, or that
    of a mirror in C2SP tlog-tiles layout: `s3+https://endpoint/bucket/prefix` is read with the key
    of `audit.mirror_*` in --config.

    Every entry is hashed and compared with every signed head at hand. A difference exits 4. A log
    that was cut back is found by a newer head from elsewhere only: keep some, and give --head.

    Of the state directory every value that the log commits to is opened as well, where the master
    key is at hand.

    With --tsa-ca the time stamps that lie with the log are verified, and there must be one.
    """
    from cryogate.cli.failure import UNVERIFIED
    from cryogate.cli.local_log import given_policy, tsa_trust

    kept = {path.name: read_at_most(path, _MAX_HEAD_BYTES) for path in heads}
    policy = None
    if policy_file is not None:
        policy = given_policy(policy_file)
        keys = (*keys, *(key.vkey() for key in policy.logs))
    stamps: tuple[Stamped, ...] = ()
    if place is not None and is_url(place):
        if tsa_ca is not None:
            raise click.UsageError("time stamps lie in exports and databases, not behind a URL")
        config = _config(settings, config_path) if place.startswith("s3+") else None
        report, trust = _verify_url(settings, place, keys, kept, policy, config)
    elif place is not None:
        report, trust, stamps = asyncio.run(
            _verify_directory(settings, Path(place), keys, kept, policy)
        )
    else:
        report, trust, stamps = asyncio.run(
            _verify_store(_config(settings, config_path), keys, kept, policy, skip_sealed)
        )
    times: tuple[tuple[int, datetime], ...] = ()
    if tsa_ca is not None:
        report, times = _stamped(report, stamps, tsa_trust(tsa_ca), trust)
    document = {
        "ok": report.ok,
        "size": report.size,
        "root": None if report.root is None else report.root.hex(),
        "unsigned": report.unsigned,
        "pruned": report.pruned,
        "sealed_opened": None if report.seals is None else report.seals.opened,
        "sealed_shredded": None if report.seals is None else report.seals.shredded,
        "trusted_keys": [key.vkey() for key in trust.keys],
        "trust_from": trust.source,
        "findings": [
            {"kind": f.kind.value, "detail": f.detail, "first": f.first, "last": f.last}
            for f in report.findings
        ],
        "findings_omitted": report.omitted,
        "stamped": [{"size": size, "time": time.isoformat()} for size, time in times],
    }
    emit(settings, document, lambda: _human(report, trust, times))
    if not report.ok:
        click.get_current_context().exit(UNVERIFIED)


@click.argument("directory", type=_PATH)
@click.option("--vkey", "keys", multiple=True, metavar="KEY", help=_KEY_HELP)
@click.option("--config", "config_path", type=_PATH, help="The server's TOML file.")
def export(
    settings: Settings, directory: Path, keys: tuple[str, ...], config_path: Path | None
) -> None:
    """Write the log into a new DIRECTORY as C2SP tiles, to keep or to hand out."""
    size = asyncio.run(_export(_config(settings, config_path), directory, keys))
    document = {"directory": str(directory), "size": size}

    def human() -> None:
        say(f"exported {size} entries to {directory}")
        say(f"next: cryogate audit verify {directory}")

    emit(settings, document, human)


def _config(settings: Settings, path: Path | None) -> Config:
    from cryogate.config import load

    overrides = {"state_dir": str(settings.state_dir)} if settings.state_dir else {}
    return load(path, overrides=overrides)


async def _verify_store(
    config: Config,
    keys: tuple[str, ...],
    kept: dict[str, bytes],
    policy: Policy | None,
    skip_sealed: bool,
) -> tuple[VerifyReport, Trust, tuple[Stamped, ...]]:
    from cryogate.audit import timestamps
    from cryogate.audit.seal_check import check_seals
    from cryogate.audit.sources import StoreSource
    from cryogate.audit.verify import verify_log
    from cryogate.cli.local_log import kept_head, open_log, trust_for_store

    # Read before the snapshot: a head is never newer than the entries that it covers.
    newest = await kept_head(config)
    if newest is not None:
        kept = {"the head store": newest, **kept}
    async with open_log(config) as store:
        trust = await trust_for_store(keys, config.state, store, config.audit.origin)
        stamps = await timestamps.stored(store)
        kept = {**kept, **await _beside(store, config.audit.origin), **_as_heads(stamps)}
        with counting() as progress:
            report = await verify_log(
                StoreSource(store),
                trust.keys,
                kept=kept,
                origin=config.audit.origin,
                policy=policy,
                progress=progress,
            )
        any_sealed = not skip_sealed and await store.fetch("scope_any", {})
        opener = _opener(config, store) if any_sealed else None
        if opener is not None:
            with counting() as progress:
                report = report.with_seals(await check_seals(store, opener, progress))
    return report, trust, stamps


def _opener(config: Config, store: ReadStore) -> ScopeKeys | None:
    """What opens sealed values, where the master key is at hand: an auditor need not have it."""
    from cryogate.domain.errors import CryogateError
    from cryogate.wiring.vault import log_keys

    try:
        return log_keys(config, store)
    except CryogateError as error:
        note(f"what the log commits to was not opened: {error}")
        return None


async def _verify_directory(
    settings: Settings,
    directory: Path,
    keys: tuple[str, ...],
    kept: dict[str, bytes],
    policy: Policy | None,
) -> tuple[VerifyReport, Trust, tuple[Stamped, ...]]:
    from cryogate.audit import timestamps
    from cryogate.audit.export import COSIGNED_FILE
    from cryogate.audit.sources import DirectorySource
    from cryogate.audit.verify import verify_log
    from cryogate.cli.local_log import trust_for_directory

    trust = trust_for_directory(keys, settings.state, directory)
    if (directory / COSIGNED_FILE).is_file():
        kept = {**kept, COSIGNED: read_at_most(directory / COSIGNED_FILE, _MAX_HEAD_BYTES)}
    stamps = timestamps.in_directory(directory)
    kept = {**kept, **_as_heads(stamps)}
    with counting() as progress:
        source = DirectorySource(directory)
        report = await verify_log(source, trust.keys, kept=kept, policy=policy, progress=progress)
    return report, trust, stamps


def _verify_url(
    settings: Settings,
    url: str,
    keys: tuple[str, ...],
    kept: dict[str, bytes],
    policy: Policy | None,
    config: Config | None,
) -> tuple[VerifyReport, Trust]:
    from cryogate.audit.remote import RemoteSource
    from cryogate.audit.verify import verify_log
    from cryogate.cli.local_log import trust_for_url
    from cryogate.cli.remote_log import served

    trust = trust_for_url(keys, settings.state)
    with served(settings, url, config) as get, counting() as progress:
        source = RemoteSource(get)
        report = asyncio.run(
            verify_log(source, trust.keys, kept=kept, policy=policy, progress=progress)
        )
    return report, trust


async def _export(config: Config, directory: Path, keys: tuple[str, ...]) -> int:
    from cryogate.audit import timestamps
    from cryogate.audit.checkpoint import peek_checkpoint
    from cryogate.audit.errors import LogIntegrityError
    from cryogate.audit.export import COSIGNED_FILE, export_log
    from cryogate.audit.sources import StoreSource
    from cryogate.cli.failure import VerificationFailed
    from cryogate.cli.local_log import open_log, trust_for_store
    from cryogate.domain.errors import Malformed

    async with open_log(config) as store:
        trust = await trust_for_store(keys, config.state, store, config.audit.origin)
        checkpoint = await StoreSource(store).checkpoint()
        if checkpoint is None or not trust.keys:
            raise Malformed("no_log", "the log has no signed head yet: nothing to export")
        try:
            with counting() as progress:
                beside = await _beside(store, config.audit.origin)
                stamps = await timestamps.stored(store)
                size = peek_checkpoint(checkpoint).size
                files = {
                    **timestamps.files_of([stamp for stamp in stamps if stamp.size <= size]),
                    **({COSIGNED_FILE: beside[COSIGNED]} if beside else {}),
                }
                return await export_log(store, checkpoint, trust.keys, directory, progress, files)
        except LogIntegrityError as error:
            raise VerificationFailed(str(error)) from error
        except OSError as error:
            raise Malformed("not_exported", str(error)) from error


def _as_heads(stamps: Sequence[Stamped]) -> dict[str, bytes]:
    """Stamped heads are signed heads, and the log must agree with each of them."""
    return {f"the stamped head {stamp.size}": stamp.note for stamp in stamps}


def _stamped(
    report: VerifyReport, stamps: Sequence[Stamped], tsa: TsaTrust, trust: Trust
) -> tuple[VerifyReport, tuple[tuple[int, datetime], ...]]:
    """The report with what is wrong with the time stamps, and the times of those that hold."""
    from dataclasses import replace

    from cryogate.audit import timestamps
    from cryogate.audit.findings import Finding, FindingKind

    found: list[Finding] = []

    def told(stamp: Stamped, why: str) -> None:
        found.append(Finding(FindingKind.TIMESTAMP, why, stamp.size))

    times = timestamps.check(stamps, tsa, trust.keys, told)
    if not stamps:
        found.append(Finding(FindingKind.NO_TIMESTAMP, "no stamped head lies with the log"))
    findings = (*report.findings, *found)
    return replace(report, ok=report.ok and not found, findings=findings), times


async def _beside(store: ReadStore, origin: str) -> dict[str, bytes]:
    """The head that witnesses cosigned, by its name for messages, if there is one."""
    row = await store.fetch_one("cosigned_head", {"origin": origin})
    return {} if row is None else {COSIGNED: str(row["note"]).encode()}


def _human(report: VerifyReport, trust: Trust, times: Sequence[tuple[int, datetime]] = ()) -> None:
    rows: list[tuple[Any, Any, Any]] = []
    for finding in report.findings:
        where = finding.first
        if finding.last not in (None, finding.first):
            where = f"{finding.first} to {finding.last}"  # type: ignore[assignment]
        rows.append((finding.kind.value, where, finding.detail))
    table(("found", "at", "what"), rows)
    if report.omitted:
        say(f"and {report.omitted} more findings")
    fields(
        [
            ("verdict", "the log is what was signed" if report.ok else "THE LOG DOES NOT VERIFY"),
            ("signed entries", report.size),
            ("not signed yet", report.unsigned or None),
            ("sealed values opened", None if report.seals is None else report.seals.opened),
            ("shredded", None if report.seals is None else report.seals.shredded or None),
            ("pruned", f"the first {report.pruned}" if report.pruned else None),
            ("root", None if report.root is None else report.root.hex()),
            (
                "stamped",
                [f"{size} entries at {time:%Y-%m-%d %H:%M:%SZ}" for size, time in times[-3:]],
            ),
            ("trusted keys", [key.vkey() for key in trust.keys]),
            ("keys from", trust.source),
        ]
    )
    if trust.keys and not trust.own:
        note("the key lies with the log: give --vkey from elsewhere to leave no doubt about it")
    if not report.ok:
        note("next: keep this state as it is, and compare with an export or a backup")


def register(group: click.Group) -> None:
    """Add these commands to ``group``."""
    command(group, "verify", As.NOBODY)(verify)
    command(group, "export", As.NOBODY)(export)
