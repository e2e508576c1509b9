"""A package to install, without an index."""

from __future__ import annotations

import zipfile
from pathlib import Path


def write_wheel(folder: Path) -> None:
    """The smallest wheel there can be, as an index would serve it."""
    info = "demopkg-1.0.dist-info"
    with zipfile.ZipFile(folder / "demopkg-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("demopkg.py", "ANSWER = 42\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: demopkg\nVersion: 1.0\n")
        tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr(f"{info}/WHEEL", tags)
        wheel.writestr(f"{info}/RECORD", "")
