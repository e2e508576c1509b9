"""Unicode text as a Gymnasium space."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from gymnasium.spaces import Space


class UnicodeText(Space[str]):
    """Any text that UTF-8 can hold, up to a length.

    ``gymnasium.spaces.Text`` needs its characters listed (seconds for unicode) and, under shared
    memory, cuts and freezes what is outside them. This one subclasses ``Space`` directly, so that
    batching, concatenation and iteration fall back to tuples of Python strings.

    Args:
        max_length: longest text, in characters.
        example: what :meth:`sample` returns, always: random unicode is no use to an agent, a legal
            action is.
        seed: accepted as every space does; sampling doesn't depend on it.
    """

    def __init__(
        self,
        max_length: int,
        *,
        example: str = "",
        seed: int | np.random.Generator | None = None,
    ) -> None:
        if max_length < len(example):
            raise ValueError(f"max_length is {max_length}, shorter than the example")
        self.max_length = int(max_length)
        self.example = example
        super().__init__(shape=None, dtype=None, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        """Text has no flat numeric form."""
        return False

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """The example; masks mean nothing here and are refused.

        Raises:
            ValueError: a mask or probabilities were given.
        """
        if mask is not None or probability is not None:
            raise ValueError("a text space has no mask and no probabilities; leave them out")
        return self.example

    def contains(self, x: Any) -> bool:
        """Whether ``x`` is text, not longer than the bound, without lone surrogates."""
        if not isinstance(x, str) or len(x) > self.max_length:
            return False
        if x.isascii():
            return True
        try:
            x.encode()
        except UnicodeEncodeError:
            return False
        return True

    def to_jsonable(self, sample_n: Iterable[str]) -> list[str]:
        """Text is JSON already."""
        return list(sample_n)

    def from_jsonable(self, sample_n: list[Any]) -> list[str]:
        """The inverse of :meth:`to_jsonable`."""
        return [str(sample) for sample in sample_n]

    def __eq__(self, other: object) -> bool:
        """Equal bounds; the example is no part of what the space contains."""
        return isinstance(other, UnicodeText) and self.max_length == other.max_length

    def __hash__(self) -> int:
        return hash((UnicodeText, self.max_length))

    def __repr__(self) -> str:
        return f"UnicodeText({self.max_length})"
