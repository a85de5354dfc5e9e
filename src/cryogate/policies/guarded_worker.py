"""Inside a guarded worker: one engine for the bundle that was sent last, asked again and again.

A request is ``digest rule question``; the answer is ``=`` and the engine's JSON, or ``?`` when the
bundle of that digest is not here (a worker that was just started, or a bundle that changed). Then
the same request comes with the bundle's files.
"""

from __future__ import annotations

import json
from typing import Any

from cryogate.policies.bundle_files import Bundle
from cryogate.policies.regorus import make_engine

ANSWER, UNKNOWN = b"=", b"?"
_SEPARATOR = b"\n"

_held: dict[str, Any] = {}


def encode(digest: str, rule: str, question: bytes, files: bytes = b"") -> bytes:
    """A request; ``files`` are a JSON object of texts by path, or nothing."""
    head = json.dumps({"digest": digest, "rule": rule, "files": len(files)}).encode()
    return head + _SEPARATOR + files + question


def entry(payload: bytes) -> bytes:
    """Answer one request; whatever goes wrong ends this process and is no answer."""
    head, _, rest = payload.partition(_SEPARATOR)
    wanted = json.loads(head)
    files, question = rest[: wanted["files"]], rest[wanted["files"] :]
    digest = wanted["digest"]
    if files:
        texts = {name: text.encode() for name, text in json.loads(files).items()}
        bundle = Bundle.of(texts)
        if bundle.digest != digest:
            raise ValueError("another bundle was sent than was named")
        _held.clear()
        _held[digest] = make_engine(bundle)
    engine = _held.get(digest)
    if engine is None:
        return UNKNOWN
    engine.set_input_json(question.decode())
    answer: str = engine.eval_rule_as_json(wanted["rule"])
    return ANSWER + answer.encode()
