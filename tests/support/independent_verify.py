"""A second verifier that shares no code with the product: plain `hashlib`, integers and files.

    python independent_verify.py DIRECTORY VKEY_FILE

It recomputes the root of an exported log from its entries by the recursive definition of RFC 6962
and checks the checkpoint's Ed25519 signature by the arithmetic of RFC 8032. Slow and plain on
purpose.
"""

from __future__ import annotations

import base64
import hashlib
import sys
from pathlib import Path

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
I = pow(2, (P - 1) // 4, P)  # noqa: E741 - the square root of -1
Point = tuple[int, int, int, int]


class Wrong(Exception):
    """The log is not what it says it is."""


def add(p: Point, q: Point) -> Point:
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * p[3] * q[3] * D % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(n: int, p: Point) -> Point:
    result: Point = (0, 1, 1, 0)
    while n:
        if n & 1:
            result = add(result, p)
        p = add(p, p)
        n >>= 1
    return result


def equal(p: Point, q: Point) -> bool:
    return (p[0] * q[2] - q[0] * p[2]) % P == 0 and (p[1] * q[2] - q[1] * p[2]) % P == 0


def decompress(data: bytes) -> Point:
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P:
        raise Wrong("bad point")
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * I % P
    if (x * x - x2) % P or (x == 0 and sign):
        raise Wrong("bad point")
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE = decompress(BASE_Y.to_bytes(32, "little"))


def ed25519_verifies(public: bytes, message: bytes, signature: bytes) -> bool:
    if len(signature) != 64:
        return False
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    if s >= L:
        return False
    try:
        a, rp = decompress(public), decompress(r)
    except Wrong:
        return False
    h = int.from_bytes(hashlib.sha512(r + public + message).digest(), "little") % L
    return equal(multiply(s, BASE), add(rp, multiply(h, a)))


def root(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return hashlib.sha256(b"\1" + root(leaves[:k]) + root(leaves[k:])).digest()


def checkpoint(note: str, vkey: str) -> tuple[int, bytes]:
    name, key_hash, key = vkey.strip().split("+", 2)
    raw = base64.b64decode(key)
    expected = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
    if expected.hex() != key_hash or raw[0] != 1:
        raise Wrong("bad verifier key")
    text, _, signatures = note.rpartition("\n\n")
    text += "\n"
    for line in signatures.splitlines():
        dash, signer, encoded = line.split(" ")
        signature = base64.b64decode(encoded)
        if dash == "\u2014" and signer == name and signature[:4] == expected:
            if not ed25519_verifies(raw[1:], text.encode(), signature[4:]):
                raise Wrong("bad signature")
            break
    else:
        raise Wrong("not signed by this key")
    origin, size, encoded_root = text.splitlines()
    if origin != name:
        raise Wrong("another log")
    return int(size), base64.b64decode(encoded_root)


def entries(directory: Path, size: int) -> list[bytes]:
    found: list[bytes] = []
    for index in range((size + 255) // 256):
        digits = str(index)
        while len(digits) % 3:
            digits = "0" + digits
        parts = [digits[i : i + 3] for i in range(0, len(digits), 3)]
        path = directory / "tile" / "entries"
        for part in parts[:-1]:
            path = path / ("x" + part)
        width = min(256, size - 256 * index)
        path = path / parts[-1] if width == 256 else path / (parts[-1] + ".p") / str(width)
        if not path.exists():
            raise Wrong(f"bundle {index} is missing")
        data = path.read_bytes()
        while data:
            length = data[0] * 256 + data[1]
            found.append(data[2 : 2 + length])
            data = data[2 + length :]
    return found


def verify(directory: Path, vkey: str) -> tuple[int, bytes]:
    """Size and root of the log in ``directory``, or `Wrong`."""
    note = (directory / "checkpoint").read_text(encoding="utf-8")
    size, signed_root = checkpoint(note, vkey)
    leaves = entries(directory, size)
    if len(leaves) != size:
        raise Wrong(f"{len(leaves)} entries, signed for {size}")
    if root(leaves) != signed_root:
        raise Wrong("the entries do not have the signed root")
    return size, signed_root


def main() -> int:
    try:
        size, computed = verify(Path(sys.argv[1]), Path(sys.argv[2]).read_text(encoding="utf-8"))
    except Wrong as error:
        sys.stderr.write(f"WRONG: {error}\n")
        return 1
    sys.stdout.write(f"{size} {computed.hex()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
