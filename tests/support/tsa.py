"""A time-stamping authority: `openssl ts` behind a small HTTP server, certificates included."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from tests.support.goverify_build import absent

_CONFIG = """\
[tsa]
default_tsa = here
[here]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1
ordering = yes
tsa_name = yes
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""


class Tsa:
    """``ca`` is the root that readers trust. ``broken`` makes it answer otherwise."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("openssl") is None:
            absent("openssl is not installed")
        folder.mkdir()
        self.folder, self.ca, self.url = folder, folder / "ca.pem", ""
        self.broken: bytes | None = None
        self.status = 200
        self.asked = 0
        _certificates(folder)
        (folder / "serial").write_text("01\n")
        (folder / "openssl.cnf").write_text(_CONFIG.format(folder=folder))

    def stamp(self, query: bytes) -> bytes:
        self.asked += 1
        if self.broken is not None:
            return self.broken
        path = self.folder / "query.tsq"
        path.write_bytes(query)
        made = subprocess.run(
            ["openssl", "ts", "-reply", "-config", self.folder / "openssl.cnf",
             "-section", "here", "-queryfile", path],
            capture_output=True, check=False, timeout=30,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        return made.stdout


@contextmanager
def authority(folder: Path) -> Iterator[Tsa]:
    """An authority that listens on this machine."""
    tsa = Tsa(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["content-type"] == "application/timestamp-query"
            body = tsa.stamp(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(tsa.status)
            self.send_header("content-type", "application/timestamp-reply")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        tsa.url = f"http://127.0.0.1:{server.server_port}/tsr"
        yield tsa
        server.shutdown()
        thread.join(10)


def _certificates(folder: Path) -> None:
    now = datetime.now(UTC)
    ca_key = rsa.generate_private_key(65537, 2048)
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test root")])
    builder = (
        x509.CertificateBuilder()
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .issuer_name(ca_name)
    )
    ca = (
        builder.subject_name(ca_name)
        .public_key(ca_key.public_key())
        .serial_number(1)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(sign=False), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    key = rsa.generate_private_key(65537, 2048)
    leaf = (
        builder.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test TSA")]))
        .public_key(key.public_key())
        .serial_number(2)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(ca.public_bytes(Encoding.PEM))
    (folder / "tsa.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
    (folder / "tsa.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=sign, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=not sign, crl_sign=not sign,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
