"""The long work, fitting the embedder and indexing a large tree, as a process of its own.

In a thread it would hold the interpreter, and with it every other episode of the process, for
seconds.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Final

from repodrome.tools.index.process import command

LARGE: Final = 1 << 20
"""Bytes of a tree from which starting a process is worth while."""
FAILED: Final = 3
"""Exit status where the machine is to blame; the reason is on standard error."""


def is_large(tree: Path) -> bool:
    """Whether indexing a tree takes long enough to be done elsewhere."""
    left = LARGE
    for directory, _, files in os.walk(tree):
        for name in files:
            status = os.stat(os.path.join(directory, name), follow_symlinks=False)
            left -= status.st_size if stat.S_ISREG(status.st_mode) else 0
            if left < 0:
                return True
    return False


def fitting(key: str, target: Path) -> list[str]:
    """The command that fits the static embedder and keeps it in an empty directory."""
    return command("maker", "fit", key, str(target))


def indexing(tree: Path, target: Path, key: str = "", embedder: Path | None = None) -> list[str]:
    """The command that writes the index of a tree into an empty directory.

    Args:
        tree: the tree.
        target: the directory.
        key: the static embedder's; ``""``: without vectors.
        embedder: where it is kept.
    """
    return command("maker", "index", str(tree), str(target), key, str(embedder or ""))


def main() -> None:
    """Do what :func:`fitting` or :func:`indexing` asks for."""
    what, *arguments = sys.argv[4:]
    try:
        if what == "fit":
            _fit(*arguments)
        else:
            _index(*arguments)
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(FAILED)


def _fit(key: str, target: str) -> None:
    from repodrome.tools.index.fit import fit

    fit(key).save(Path(target))


def _index(tree: str, target: str, key: str, embedder: str) -> None:
    from repodrome.tools.index.embedder import StaticEmbedder
    from repodrome.tools.index.index import build

    build(Path(tree), Path(target), StaticEmbedder.open(Path(embedder), key) if key else None)
