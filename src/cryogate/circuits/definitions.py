"""One-line definitions for gates outside a dialect's library, emitted before their first use.

A line is recognised only byte for byte: then its gate is the primitive of that name, so emitted
text parses back to the same fingerprint. Any other definition is inlined by the rich path. A test
compares every body with the gate's matrix.
"""

from __future__ import annotations

_BOTH = {
    "ryy": "gate ryy(t) a,b{rx(pi/2) a;rx(pi/2) b;cx a,b;rz(t) b;cx a,b;rx(-pi/2) a;rx(-pi/2) b;}",
    "rzx": "gate rzx(t) a,b{h b;cx a,b;rz(t) b;cx a,b;h b;}",
    "iswap": "gate iswap a,b{s a;s b;h a;cx a,b;cx b,a;h b;}",
    "ecr": "gate ecr a,b{h b;cx a,b;rz(pi/4) b;cx a,b;h b;x a;h b;cx a,b;rz(-pi/4) b;cx a,b;h b;}",
    "dcx": "gate dcx a,b{cx a,b;cx b,a;}",
    "cs": "gate cs a,b{t a;cx a,b;tdg b;cx a,b;t b;}",
    "csdg": "gate csdg a,b{tdg a;cx a,b;t b;cx a,b;tdg b;}",
    "r": "gate r(t,f) a{rz(-f) a;rx(t) a;rz(f) a;}",
    "ccz": "gate ccz a,b,c{h c;ccx a,b,c;h c;}",
}

OPENQASM2_DEFINITIONS: dict[str, str] = dict(_BOTH)

OPENQASM3_DEFINITIONS: dict[str, str] = {
    **_BOTH,
    "sxdg": "gate sxdg a{s a;h a;s a;}",
    "csx": "gate csx a,b{h b;cp(pi/2) a,b;h b;}",
    "rxx": "gate rxx(t) a,b{h a;h b;cx a,b;rz(t) b;cx a,b;h a;h b;}",
    "rzz": "gate rzz(t) a,b{cx a,b;rz(t) b;cx a,b;}",
    "cu3": "gate cu3(t,f,l) a,b{cu(t,f,l,0) a,b;}",
    "rccx": "gate rccx a,b,c{h c;t c;cx b,c;tdg c;cx a,c;t c;cx b,c;tdg c;h c;}",
    "c3x": "gate c3x a,b,c,d{ctrl(3) @ x a,b,c,d;}",
    "c4x": "gate c4x a,b,c,d,e{ctrl(4) @ x a,b,c,d,e;}",
    "c3sqrtx": "gate c3sqrtx a,b,c,d{ctrl(3) @ sx a,b,c,d;}",
}


def without_known(text: str, version: int) -> str:
    """``text`` with our own definition lines blanked; only whole lines, each at most once."""
    table = OPENQASM2_DEFINITIONS if version == 2 else OPENQASM3_DEFINITIONS
    known = set(table.values())
    lines = text.split("\n", 64)
    for number, line in enumerate(lines[:64]):
        if line in known:
            known.remove(line)
            lines[number] = ""
    return "\n".join(lines)
