"""Facts as they are kept with a job, read back."""

from __future__ import annotations

import msgspec

from cryogate.circuits.model import Facts


def read_facts(text: str) -> Facts:
    """The facts in a job's row. Its gate set is the names that were counted.

    Raises:
        ValueError: it holds no facts.
    """
    try:
        stored = msgspec.json.decode(text, type=dict[str, object])
        counts = stored.get("gate_counts")
        gates = sorted(counts) if isinstance(counts, dict) else []
        return msgspec.convert({**stored, "gate_set": gates}, Facts)
    except msgspec.MsgspecError as error:
        raise ValueError(f"stored facts cannot be read: {error}") from error
