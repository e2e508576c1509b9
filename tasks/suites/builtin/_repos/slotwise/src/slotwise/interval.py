"""One half-open interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from slotwise.errors import EmptyInterval

T = TypeVar("T", bound=Any)


@dataclass(frozen=True, order=True)
class Interval(Generic[T]):
    """The points from ``start`` up to, but not including, ``end``."""

    start: T
    end: T

    def __post_init__(self) -> None:
        if not self.start < self.end:
            raise EmptyInterval(f"[{self.start}, {self.end}) is empty")

    def __contains__(self, point: T) -> bool:
        return self.start <= point < self.end

    def __str__(self) -> str:
        return f"[{self.start}, {self.end})"

    @property
    def length(self) -> Any:
        """``end - start``, for endpoints that can be subtracted."""
        return self.end - self.start

    def overlaps(self, other: Interval[T]) -> bool:
        """Do the two share a point?"""
        return self.start < other.end and other.start < self.end

    def touches(self, other: Interval[T]) -> bool:
        """Is their union one interval?"""
        return self.start <= other.end and other.start <= self.end

    def clip(self, window: Interval[T]) -> Interval[T] | None:
        """The part inside ``window``, or None."""
        if not self.overlaps(window):
            return None
        return Interval(max(self.start, window.start), min(self.end, window.end))

    def shift(self, by: Any) -> Interval[T]:
        """The same interval, ``by`` later."""
        return Interval(self.start + by, self.end + by)

    def widen(self, before: Any, after: Any) -> Interval[T]:
        """The interval with ``before`` added in front and ``after`` behind."""
        return Interval(self.start - before, self.end + after)
