"""Certificates for the lab, made by the openssl program."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path


def expired(directory: Path, name: str, ago: datetime.timedelta) -> Path:
    """A certificate that ended so long ago, which the openssl program refuses to make."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    end = datetime.datetime.now(datetime.UTC) - ago
    made = x509.CertificateBuilder(
        subject, subject, key.public_key(), x509.random_serial_number(), end - datetime.timedelta(days=365), end
    ).sign(key, hashes.SHA256())
    path = directory / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


def certificate(directory: Path, name: str = "shop.example", *, days: int = 3650, rsa: bool = False) -> Path:
    """One self-signed certificate, key first, in a PEM file."""
    key, crt, both = directory / f"{name}.key", directory / f"{name}.crt", directory / f"{name}.pem"
    kind = ("rsa:2048",) if rsa else ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    subprocess.run(
        (
            "openssl",
            "req",
            "-x509",
            "-newkey",
            *kind,
            "-nodes",
            "-keyout",
            str(key),
            "-out",
            str(crt),
            "-days",
            str(days),
            "-subj",
            f"/O=Example Shop/CN={name}",
            "-addext",
            f"subjectAltName=DNS:{name}",
        ),
        check=True,
        capture_output=True,
    )
    both.write_text(key.read_text() + crt.read_text())
    both.chmod(0o644)
    return both
