"""Certificates for the lab, made by the openssl program."""

from __future__ import annotations

import subprocess
from pathlib import Path


def certificate(directory: Path, name: str = "shop.example", *, days: int = 3650, rsa: bool = False) -> Path:
    """One self-signed certificate, key first, in a PEM file; ``days`` may be negative (expired)."""
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
