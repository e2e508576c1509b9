"""Calendars, and slots that suit everybody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, time, timedelta
from functools import reduce

from slotwise.hours import WorkingHours
from slotwise.interval import Interval
from slotwise.intervalset import IntervalSet
from slotwise.recur import Series

NO_TIME = timedelta()


class Calendar:
    """One person's bookings.

    Args:
        owner: whose it is.
        hours: when they work; round the clock by default.
        buffer: time kept free before and after each meeting.
    """

    def __init__(
        self, owner: str, hours: WorkingHours | None = None, buffer: timedelta = NO_TIME
    ) -> None:
        self.owner = owner
        self.hours = hours or WorkingHours.always()
        self.buffer = buffer
        self._bookings: list[tuple[Interval[datetime], str]] = []
        self._series: list[Series] = []

    def book(self, start: datetime, duration: timedelta, title: str = "") -> Interval[datetime]:
        """Add a meeting; meetings may overlap."""
        meeting = Interval(start, start + duration)
        self._bookings.append((meeting, title))
        return meeting

    def cancel(self, meeting: Interval[datetime]) -> bool:
        """Take one meeting of exactly this time off again; False if there is none."""
        for at, (booked, _) in enumerate(self._bookings):
            if booked == meeting:
                del self._bookings[at]
                return True
        return False

    def add_series(self, series: Series) -> Series:
        """Add a recurring meeting."""
        self._series.append(series)
        return series

    def agenda(self, within: Interval[datetime]) -> list[tuple[Interval[datetime], str]]:
        """Every meeting that overlaps the window, whole, with its title."""
        found = [entry for entry in self._bookings if entry[0].overlaps(within)]
        for series in self._series:
            found += [(meeting, series.title) for meeting in series.expand(within)]
        return sorted(found)

    def busy(self, within: Interval[datetime]) -> IntervalSet[datetime]:
        """Everything booked, clipped to the window."""
        return IntervalSet(meeting for meeting, _ in self.agenda(within)).clip(within)

    def free(self, within: Interval[datetime]) -> IntervalSet[datetime]:
        """Working time in the window that is neither booked nor in a buffer."""
        # A meeting just outside the window can reach into it with its buffer.
        around = within.widen(self.buffer, self.buffer)
        taken = IntervalSet(
            meeting.widen(self.buffer, self.buffer) for meeting, _ in self.agenda(around)
        )
        return self.hours.within(within) - taken


def common_free(
    calendars: Sequence[Calendar], within: Interval[datetime]
) -> IntervalSet[datetime]:
    """When all of them are free; the whole window if there are none."""
    return reduce(
        lambda left, right: left & right,
        (calendar.free(within) for calendar in calendars),
        IntervalSet([within]),
    )


def _align(moment: datetime, step: timedelta) -> datetime:
    """The first multiple of ``step`` since midnight that isn't before ``moment``."""
    midnight = datetime.combine(moment.date(), time(), moment.tzinfo)
    return midnight + -((midnight - moment) // step) * step


def find_slots(
    calendars: Sequence[Calendar],
    duration: timedelta,
    within: Interval[datetime],
    *,
    step: timedelta = timedelta(minutes=15),
    limit: int | None = None,
) -> Iterator[Interval[datetime]]:
    """Slots of ``duration`` in which everybody is free, earliest first; they don't overlap."""
    if duration <= NO_TIME or step <= NO_TIME:
        raise ValueError("duration and step must be positive")
    found = 0
    for gap in common_free(calendars, within):
        start = _align(gap.start, step)
        while start + duration <= gap.end:
            if limit is not None and found >= limit:
                return
            yield Interval(start, start + duration)
            found += 1
            start = _align(start + duration, step)
