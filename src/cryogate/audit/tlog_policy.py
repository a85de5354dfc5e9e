"""C2SP tlog-policy: which logs count, and how many of which witnesses must have cosigned.

The file is the auditor's own. What it does not say does not count: a policy without a quorum line
is refused, and a name that is not defined before it is used is an error, never an empty group.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cryogate.audit.checkpoint import Checkpoint, parse_checkpoint_text
from cryogate.audit.errors import NoteRefused
from cryogate.audit.note import NoteVerifier, parse_note, verified
from cryogate.audit.vkeys import parse_vkey

MAX_POLICY_BYTES = 262_144
_NAME = re.compile(r"[!-~]{1,255}")
_COUNT = re.compile(r"[1-9][0-9]{0,3}")


@dataclass(frozen=True, slots=True)
class Group:
    """``needed`` of ``members`` must have cosigned; members are witnesses or other groups."""

    needed: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """Logs, witnesses, groups, and the name that must be met; ``none`` needs no witness.

    ``urls`` are the witnesses' by name, where the file gives one.
    """

    logs: tuple[NoteVerifier, ...]
    witnesses: Mapping[str, NoteVerifier]
    groups: Mapping[str, Group]
    quorum: str
    urls: Mapping[str, str] = field(default_factory=dict)

    def open(self, note: bytes) -> Checkpoint:
        """The checkpoint in ``note``, if the policy accepts it.

        Raises:
            NoteRefused: no listed log signed it, a cosignature is wrong, or the quorum is missing.
        """
        parsed = parse_note(note)
        checkpoint = parse_checkpoint_text(parsed.text)
        verified(parsed, [log for log in self.logs if log.name == checkpoint.origin])
        cosigned = {
            name
            for name, key in self.witnesses.items()
            if any((s.name, s.key_id) == (key.name, key.key_id) for s in parsed.signatures)
            and verified(parsed, [key])
        }
        if not self._met(self.quorum, cosigned):
            who = ", ".join(sorted(cosigned)) or "no known witness"
            raise NoteRefused(f"the quorum {self.quorum} is not met: {who} cosigned this head")
        return checkpoint

    def _met(self, name: str, cosigned: set[str]) -> bool:
        group = self.groups.get(name)
        if group is None:
            return name == "none" or name in cosigned
        return sum(self._met(member, cosigned) for member in group.members) >= group.needed


def parse_policy(text: str, logs_known: Sequence[NoteVerifier] = ()) -> Policy:
    """The policy in a file. ``logs_known`` count where the file lists no log.

    Raises:
        NoteRefused: malformed; names the line.
    """
    if len(text) > MAX_POLICY_BYTES:
        raise NoteRefused("the policy is too large")
    logs, witnesses, groups = list[NoteVerifier](), dict[str, NoteVerifier](), dict[str, Group]()
    keys, urls = set[bytes](), dict[str, str]()
    quorum: str | None = None
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split()
        try:
            match words:
                case []:
                    continue
                case [first, *_] if first.startswith("#"):
                    continue
                case ["log", vkey] | ["log", vkey, _]:
                    logs.append(_fresh(vkey, keys))
                case ["witness", name, vkey, *url] if len(url) < 2:
                    _new(name, witnesses, groups)
                    witnesses[name] = _fresh(vkey, keys)
                    urls.update(zip([name], url, strict=False))
                case ["group", name, count, *members] if members:
                    _new(name, witnesses, groups)
                    groups[name] = _group(count, members, {*witnesses, *groups})
                case ["quorum", name] if quorum is None:
                    if name != "none" and name not in {*witnesses, *groups}:
                        raise NoteRefused(f"{name} is not defined before")
                    quorum = name
                case _:
                    raise NoteRefused("not a line of a policy")
        except NoteRefused as error:
            raise NoteRefused(f"policy line {number}: {error}") from error
    if quorum is None:
        raise NoteRefused("the policy has no quorum line")
    if not (logs or logs_known):
        raise NoteRefused("the policy lists no log")
    return Policy(tuple(logs or logs_known), witnesses, groups, quorum, urls)


def _fresh(text: str, keys: set[bytes]) -> NoteVerifier:
    key = parse_vkey(text)
    # the same key under two names must not count as two witnesses
    material = base64.b64decode(text.split("+", 2)[2])[1:]
    if material in keys:
        raise NoteRefused("this key is listed twice")
    keys.add(material)
    return key


def _new(name: str, witnesses: Mapping[str, object], groups: Mapping[str, object]) -> None:
    if name == "none" or not _NAME.fullmatch(name) or name in witnesses or name in groups:
        raise NoteRefused(f"{name} is no new name")


def _group(count: str, members: list[str], known: set[str]) -> Group:
    if len(set(members)) != len(members) or not set(members) <= known:
        raise NoteRefused("a group has members that are defined before, each once")
    if count in ("any", "all"):
        return Group(1 if count == "any" else len(members), tuple(members))
    if not _COUNT.fullmatch(count) or int(count) > len(members):
        raise NoteRefused("a group needs any, all, or a number of its members")
    return Group(int(count), tuple(members))
