"""Where templates come from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from quill.errors import TemplateNotFound


class Loader(Protocol):
    """Finds the source of a template."""

    def load(self, name: str) -> str:
        """The source; raises ``TemplateNotFound``."""


class DictLoader:
    """Templates in a mapping."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = sources

    def load(self, name: str) -> str:
        """The source of a template."""
        if name not in self._sources:
            raise TemplateNotFound(f"no template {name!r}")
        return self._sources[name]


class FileLoader:
    """Templates in a directory; names can't lead out of it."""

    def __init__(self, directory: str | Path) -> None:
        self._directory = Path(directory).resolve()

    def load(self, name: str) -> str:
        """The source of a template."""
        path = (self._directory / name).resolve()
        if not path.is_relative_to(self._directory) or not path.is_file():
            raise TemplateNotFound(f"no template {name!r}")
        return path.read_text(encoding="utf-8")
