"""How many tokens a context takes: counted by a pluggable tokenizer, estimated from bytes without.

A trainer passes its own as a callable, ``lambda text: len(tokenizer.encode(text))``; an installed
package registers one by name through the entry-point group ``repodrome.tokenizer``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from repodrome.errors import UsageError
from repodrome.plugins import load_part

Tokenizer = Callable[[str], int]
"""How many tokens a text takes. Deterministic, and no smaller for a longer text."""

GROUP = "repodrome.tokenizer"
BYTES_PER_TOKEN = 4
"""Of source code and English, roughly, with the tokenizers of present models."""
MESSAGE_TOKENS = 4
"""What a chat template puts around each message, roughly."""
_BUILTIN = {"bytes": "repodrome.envs.tokens:estimate"}


def estimate(text: str) -> int:
    """A token for every four bytes of UTF-8, rounded up: the tokenizer called ``bytes``."""
    size = len(text) if text.isascii() else len(text.encode(errors="replace"))
    return -(-size // BYTES_PER_TOKEN)


def get_tokenizer(tokenizer: Tokenizer | str) -> Tokenizer:
    """A tokenizer by name, or the callable itself.

    Raises:
        UnknownNameError: there is none of that name.
        UsageError: what was registered under it can't be called.
    """
    found: Any = tokenizer
    if isinstance(tokenizer, str):
        found = load_part("tokenizer", tokenizer, GROUP, _BUILTIN)
    if not callable(found):
        raise UsageError(
            f"tokenizer {tokenizer!r} is no tokenizer: it must be a function from text to a number"
        )
    counter: Tokenizer = found
    return counter


class MessageCounter:
    """Counts messages and tool schemas in chat-completions form.

    Args:
        tokenizer: counts a text.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.text = tokenizer

    def messages(self, messages: Iterable[Mapping[str, Any]]) -> int:
        """Contents, names and arguments of the calls, and the template's share a message."""
        return sum(self._message(message) for message in messages)

    def schemas(self, schemas: Iterable[Mapping[str, Any]]) -> int:
        """The tools' schemas, as JSON."""
        return sum(self.text(json.dumps(schema, ensure_ascii=False)) for schema in schemas)

    def _message(self, message: Mapping[str, Any]) -> int:
        total = MESSAGE_TOKENS + self.text(message["content"])
        for call in message.get("tool_calls", ()):
            function = call["function"]
            total += self.text(function["name"]) + self.text(function["arguments"])
        return total


def clip(text: str, room: int, tokenizer: Tokenizer) -> str:
    """The longest beginning of a text that takes at most ``room`` tokens."""
    if tokenizer(text) <= room:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if tokenizer(text[:middle]) <= room:
            low = middle
        else:
            high = middle - 1
    return text[:low]
