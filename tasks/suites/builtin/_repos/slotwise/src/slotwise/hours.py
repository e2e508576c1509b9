"""Weekly working hours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta

from slotwise.errors import HoursError
from slotwise.interval import Interval
from slotwise.intervalset import IntervalSet

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MINUTES_A_DAY = 24 * 60
_RANGE = re.compile(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})")


def _days(text: str) -> list[int]:
    """``mon``, ``mon,wed`` or ``fri-mon`` (which runs over the weekend)."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        try:
            begin = WEEKDAYS.index(first)
            end = WEEKDAYS.index(last) if dash else begin
        except ValueError:
            raise HoursError(f"unknown weekday in {text!r}") from None
        found += [(begin + step) % 7 for step in range((end - begin) % 7 + 1)]
    return found


def _minutes(text: str) -> Interval[int]:
    match = _RANGE.fullmatch(text)
    if match is None:
        raise HoursError(f"not a range of hours: {text!r}")
    hour, minute, end_hour, end_minute = map(int, match.groups())
    start, end = hour * 60 + minute, end_hour * 60 + end_minute
    if minute > 59 or end_minute > 59 or end > _MINUTES_A_DAY or not start < end:
        raise HoursError(f"not a range of hours: {text!r}")
    return Interval(start, end)


class WorkingHours:
    """For each weekday (Monday is 0) a set of minutes since midnight."""

    def __init__(self, week: Mapping[int, IntervalSet[int]]) -> None:
        self._week = {day: hours for day, hours in week.items() if len(hours)}

    @classmethod
    def parse(cls, text: str) -> WorkingHours:
        """Read e.g. ``"mon-thu 09:00-12:00 13:00-17:00; fri 09:00-14:00"``; later parts add."""
        week: dict[int, list[Interval[int]]] = {}
        for part in filter(None, (piece.strip().lower() for piece in text.split(";"))):
            days, *ranges = part.split()
            if not ranges:
                raise HoursError(f"no hours in {part!r}")
            for day in _days(days):
                week.setdefault(day, []).extend(map(_minutes, ranges))
        return cls({day: IntervalSet(ranges) for day, ranges in week.items()})

    @classmethod
    def always(cls) -> WorkingHours:
        """Round the clock."""
        return cls({day: IntervalSet.of((0, _MINUTES_A_DAY)) for day in range(7)})

    def on(self, day: date) -> list[Interval[datetime]]:
        """The working time of one day."""
        midnight = datetime.combine(day, time())
        return [
            Interval(midnight + timedelta(minutes=m.start), midnight + timedelta(minutes=m.end))
            for m in self._week.get(day.weekday(), ())
        ]

    def within(self, window: Interval[datetime]) -> IntervalSet[datetime]:
        """All working time inside ``window``."""
        return IntervalSet(self._spread(window)).clip(window)

    def _spread(self, window: Interval[datetime]) -> Iterable[Interval[datetime]]:
        for day in days_of(window):
            yield from self.on(day)


def days_of(window: Interval[datetime]) -> Iterator[date]:
    """Every date that has a moment inside ``window``."""
    day = window.start.date()
    while datetime.combine(day, time()) < window.end:
        yield day
        day += timedelta(days=1)
