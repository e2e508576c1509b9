"""Certificates for a daemon that speaks TLS, made with openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path


def make(folder: Path) -> tuple[Path, Path]:
    """Directories for the daemon and for its clients, each with ca.pem, cert.pem and key.pem."""
    _openssl(
        folder, "req -x509 -newkey rsa:2048 -nodes -keyout ca-key.pem -out ca.pem -subj /CN=ca"
    )
    made = []
    for name, usage in (("daemon", "serverAuth"), ("client", "clientAuth")):
        place = folder / name
        place.mkdir()
        (folder / "extensions").write_text(
            f"subjectAltName=IP:127.0.0.1\nextendedKeyUsage={usage}\n"
        )
        _openssl(
            folder,
            f"req -newkey rsa:2048 -nodes -keyout {name}/key.pem -out {name}.csr -subj /CN={name}",
        )
        _openssl(
            folder,
            f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial "
            f"-out {name}/cert.pem -extfile extensions",
        )
        (place / "ca.pem").write_bytes((folder / "ca.pem").read_bytes())
        made.append(place)
    return made[0], made[1]


def _openssl(folder: Path, words: str) -> None:
    subprocess.run(["openssl", *words.split()], cwd=folder, check=True, capture_output=True)
