"""Recurring events. The reference is docs/recurrence.md."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import MAXYEAR, date, datetime, timedelta
from itertools import count as count_from

from slotwise.errors import RuleError
from slotwise.hours import WEEKDAYS
from slotwise.interval import Interval

FREQUENCIES = ("daily", "weekly", "monthly")
_ORDINALS = {"last": -1, "1st": 1, "2nd": 2, "3rd": 3, "4th": 4, "5th": 5}
_ORDINAL_NAMES = {number: name for name, number in _ORDINALS.items()}
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Rule:
    """When something recurs."""

    freq: str
    every: int = 1
    on: tuple = ()
    count: int | None = None
    until: date | None = None

    def __post_init__(self) -> None:
        if self.freq not in FREQUENCIES:
            raise RuleError(f"unknown frequency {self.freq!r}")
        if self.every < 1:
            raise RuleError("every must be at least 1")
        if self.count is not None and self.count < 1:
            raise RuleError("count must be at least 1")
        if self.count is not None and self.until is not None:
            raise RuleError("count and until exclude each other")
        for entry in self.on:
            self._check_on(entry)
        object.__setattr__(self, "on", tuple(sorted(set(self.on))))

    def _check_on(self, entry: object) -> None:
        if self.freq == "weekly":
            good = entry in range(7)
        elif self.freq == "monthly":
            good = (
                isinstance(entry, tuple)
                and len(entry) == 2
                and entry[0] in _ORDINAL_NAMES
                and entry[1] in range(7)
            )
        else:
            good = False
        if not good:
            raise RuleError(f"{entry!r} doesn't go with a {self.freq} rule")

    # -- text ------------------------------------------------------------------------------------

    @classmethod
    def parse(cls, text: str) -> Rule:
        """Read the text form, e.g. ``"weekly; every 2; on mon, wed; count 10"``."""
        freq, *clauses = (" ".join(clause.lower().split()) for clause in text.split(";"))
        fields: dict = {}
        for clause in clauses:
            word, _, value = clause.partition(" ")
            if word not in _READERS:
                raise RuleError(f"can't read {clause!r} in {text!r}")
            if word in fields:
                raise RuleError(f"{word!r} comes twice in {text!r}")
            fields[word] = _READERS[word](value)
        return cls(freq, **fields)

    def __str__(self) -> str:
        parts = [self.freq]
        if self.every != 1:
            parts.append(f"every {self.every}")
        if self.on:
            parts.append("on " + ", ".join(map(_on_name, self.on)))
        if self.count is not None:
            parts.append(f"count {self.count}")
        if self.until is not None:
            parts.append(f"until {self.until.isoformat()}")
        return "; ".join(parts)

    # -- time ------------------------------------------------------------------------------------

    def occurrences(self, start: datetime) -> Iterator[datetime]:
        """All occurrences, ascending."""
        return self._from(start, start.date())

    def _from(self, start: datetime, near: date) -> Iterator[datetime]:
        """Occurrences, leaving out what is before ``near`` where that can be done at no cost.

        A rule with ``count`` has to be counted out from its start.
        """
        if self.count is not None:
            near = start.date()
        near = max(near, start.date())
        days = {"daily": self._daily, "weekly": self._weekly, "monthly": self._monthly}[self.freq]
        found = 0
        for day in days(start.date(), near):
            moment = datetime.combine(day, start.timetz())
            if moment < start:
                continue
            if self.until is not None and day > self.until:
                return
            yield moment
            found += 1
            if found == self.count:
                return

    def _daily(self, start: date, near: date) -> Iterator[date]:
        skipped = (near - start).days // self.every
        for step in count_from(skipped):
            try:
                yield start + step * self.every * _DAY
            except OverflowError:
                return

    def _weekly(self, start: date, near: date) -> Iterator[date]:
        monday = start - start.weekday() * _DAY
        skipped = (near - monday).days // 7 // self.every
        for step in count_from(skipped):
            for weekday in self.on or (start.weekday(),):
                try:
                    yield monday + (step * self.every * 7 + weekday) * _DAY
                except OverflowError:
                    return

    def _monthly(self, start: date, near: date) -> Iterator[date]:
        first = start.year * 12 + start.month - 1
        skipped = (near.year * 12 + near.month - 1 - first) // self.every
        for month in count_from(first + skipped * self.every, self.every):
            year, number = month // 12, month % 12 + 1
            if year > MAXYEAR:
                return
            length = monthrange(year, number)[1]
            if self.on:
                found = {_nth_weekday(year, number, *entry) for entry in self.on}
                yield from sorted(day for day in found if day is not None)
            else:
                yield date(year, number, min(start.day, length))


def _nth_weekday(year: int, month: int, nth: int, weekday: int) -> date | None:
    offset, length = monthrange(year, month)
    days = range((weekday - offset) % 7 + 1, length + 1, 7)
    if nth > len(days):
        return None
    return date(year, month, days[nth - 1 if nth > 0 else nth])


def _on_name(entry: int | tuple[int, int]) -> str:
    if isinstance(entry, tuple):
        return f"{_ORDINAL_NAMES[entry[0]]} {WEEKDAYS[entry[1]]}"
    return WEEKDAYS[entry]


def _read_number(text: str) -> int:
    if not re.fullmatch(r"[0-9]+", text):
        raise RuleError(f"not a number: {text!r}")
    return int(text)


def _read_date(text: str) -> date:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise RuleError(f"not a date: {text!r}")
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise RuleError(f"not a date: {text!r}") from error


def _read_on(text: str) -> tuple:
    entries: list = []
    for part in text.split(","):
        words = part.split()
        if not words or len(words) > 2 or words[-1] not in WEEKDAYS:
            raise RuleError(f"not a weekday: {part!r}")
        weekday = WEEKDAYS.index(words[-1])
        if len(words) == 1:
            entries.append(weekday)
        elif words[0] in _ORDINALS:
            entries.append((_ORDINALS[words[0]], weekday))
        else:
            raise RuleError(f"not an ordinal: {words[0]!r}")
    return tuple(entries)


_READERS: dict[str, Callable] = {
    "every": _read_number,
    "on": _read_on,
    "count": _read_number,
    "until": _read_date,
}


class Series:
    """A recurring meeting, some occurrences of which may be skipped or moved."""

    def __init__(self, start: datetime, duration: timedelta, rule: Rule, title: str = "") -> None:
        if duration <= timedelta():
            raise RuleError("a meeting takes time")
        self.start = start
        self.duration = duration
        self.rule = rule
        self.title = title
        self._skipped: set[datetime] = set()
        self._moved: dict[datetime, Interval[datetime]] = {}

    def skip(self, original: datetime) -> None:
        """Cancel one occurrence."""
        self._check(original)
        self._moved.pop(original, None)
        self._skipped.add(original)

    def move(
        self, original: datetime, new_start: datetime, duration: timedelta | None = None
    ) -> None:
        """Move one occurrence, perhaps changing how long it takes."""
        self._check(original)
        length = self.duration if duration is None else duration
        if length <= timedelta():
            raise RuleError("a meeting takes time")
        self._skipped.discard(original)
        self._moved[original] = Interval(new_start, new_start + length)

    def expand(self, within: Interval[datetime]) -> list[Interval[datetime]]:
        """Every occurrence that overlaps the window, whole, sorted."""
        found = [meeting for meeting in self._moved.values() if meeting.overlaps(within)]
        near = max(within.start - self.duration, self.start).date()
        for moment in self.rule._from(self.start, near):
            if moment >= within.end:
                break
            if moment in self._skipped or moment in self._moved:
                continue
            meeting = Interval(moment, moment + self.duration)
            if meeting.overlaps(within):
                found.append(meeting)
        return sorted(found)

    def _check(self, original: datetime) -> None:
        for moment in self.rule._from(self.start, original.date()):
            if moment == original:
                return
            if moment > original:
                break
        raise RuleError(f"{original} isn't an occurrence of {self.rule}")
