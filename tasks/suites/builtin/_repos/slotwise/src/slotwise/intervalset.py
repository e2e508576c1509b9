"""Sets of points, kept as sorted, disjoint, non-touching intervals."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

from slotwise.interval import Interval

T = TypeVar("T", bound=Any)


def _merge_sorted(intervals: Iterable[Interval[T]]) -> Iterator[Interval[T]]:
    """Join what overlaps or touches; the input is sorted by start."""
    pending: Interval[T] | None = None
    for item in intervals:
        if pending is None:
            pending = item
        elif item.start <= pending.end:
            if pending.end < item.end:
                pending = Interval(pending.start, item.end)
        else:
            yield pending
            pending = item
    if pending is not None:
        yield pending


def _interleave(
    left: tuple[Interval[T], ...], right: tuple[Interval[T], ...]
) -> Iterator[Interval[T]]:
    """Both sorted sequences as one sorted sequence."""
    i = j = 0
    while i < len(left) and j < len(right):
        if right[j].start < left[i].start:
            yield right[j]
            j += 1
        else:
            yield left[i]
            i += 1
    yield from left[i:]
    yield from right[j:]


class IntervalSet(Generic[T]):
    """An immutable set of points. See the README for what "normal" means."""

    __slots__ = ("_ends", "_items", "_starts")

    def __init__(self, intervals: Iterable[Interval[T]] = ()) -> None:
        self._fill(tuple(_merge_sorted(sorted(intervals, key=lambda item: item.start))))

    def _fill(self, items: tuple[Interval[T], ...]) -> None:
        self._items = items
        self._starts = [item.start for item in items]
        self._ends = [item.end for item in items]

    @classmethod
    def _normal(cls, items: Iterable[Interval[T]]) -> IntervalSet[T]:
        """Make a set of intervals that are known to be normal."""
        made: IntervalSet[T] = cls.__new__(cls)
        made._fill(tuple(items))
        return made

    @classmethod
    def of(cls, *pairs: tuple[T, T]) -> IntervalSet[T]:
        """Shorthand: ``IntervalSet.of((1, 3), (5, 8))``."""
        return cls(Interval(start, end) for start, end in pairs)

    # -- looking ---------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Interval[T]]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IntervalSet) and self._items == other._items

    def __hash__(self) -> int:
        return hash(self._items)

    def __repr__(self) -> str:
        return f"IntervalSet({', '.join(map(str, self._items))})"

    def __contains__(self, point: T) -> bool:
        at = bisect_right(self._starts, point) - 1
        return at >= 0 and point < self._ends[at]

    def overlapping(self, window: Interval[T]) -> list[Interval[T]]:
        """The intervals that share a point with ``window``, whole, in order."""
        first = bisect_right(self._ends, window.start)
        last = bisect_left(self._starts, window.end)
        return list(self._items[first:last])

    def covers(self, window: Interval[T]) -> bool:
        """Is every point of ``window`` in the set?"""
        at = bisect_right(self._starts, window.start) - 1
        return at >= 0 and window.end <= self._ends[at]

    def span(self) -> Interval[T] | None:
        """The smallest interval that holds the whole set."""
        if not self._items:
            return None
        return Interval(self._starts[0], self._ends[-1])

    def measure(self, zero: Any = 0) -> Any:
        """The total length; ``zero`` is where the sum begins (``timedelta()`` for datetimes)."""
        return sum((item.length for item in self._items), zero)

    # -- combining -------------------------------------------------------------------------------

    def __or__(self, other: IntervalSet[T]) -> IntervalSet[T]:
        return self._normal(_merge_sorted(_interleave(self._items, other._items)))

    def __and__(self, other: IntervalSet[T]) -> IntervalSet[T]:
        return self._normal(self._common(other))

    def __sub__(self, other: IntervalSet[T]) -> IntervalSet[T]:
        return self._normal(self._remaining(other))

    def clip(self, window: Interval[T]) -> IntervalSet[T]:
        """The part inside ``window``."""
        parts = (item.clip(window) for item in self.overlapping(window))
        return self._normal(part for part in parts if part is not None)

    def gaps(self, within: Interval[T]) -> IntervalSet[T]:
        """The points of ``within`` that aren't in the set."""
        return IntervalSet([within]) - self

    def _common(self, other: IntervalSet[T]) -> Iterator[Interval[T]]:
        i = j = 0
        while i < len(self._items) and j < len(other._items):
            mine, theirs = self._items[i], other._items[j]
            part = mine.clip(theirs)
            if part is not None:
                yield part
            if mine.end < theirs.end:
                i += 1
            else:
                j += 1

    def _remaining(self, other: IntervalSet[T]) -> Iterator[Interval[T]]:
        holes = other._items
        j = 0
        for item in self._items:
            start = item.start
            while j < len(holes) and holes[j].end <= start:
                j += 1
            # A hole that reaches past this item may cut the next one as well, so j stays on it.
            while j < len(holes) and holes[j].start < item.end:
                if start < holes[j].start:
                    yield Interval(start, holes[j].start)
                start = holes[j].end
                if item.end <= start:
                    break
                j += 1
            if start < item.end:
                yield Interval(start, item.end)
