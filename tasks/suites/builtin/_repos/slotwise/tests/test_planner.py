from datetime import datetime, timedelta

import pytest

from slotwise import Calendar, Interval, WorkingHours, find_slots

DAY = Interval(datetime(2024, 5, 6), datetime(2024, 5, 7))
HOUR = timedelta(hours=1)


def at(hour, minute=0):
    return datetime(2024, 5, 6, hour, minute)


def make(text="mon-fri 09:00-17:00", **options):
    return Calendar("ana", WorkingHours.parse(text), **options)


def test_slots_avoid_a_meeting():
    ana = make("mon 09:00-12:00")
    ana.book(at(10), HOUR)
    assert list(find_slots([ana], HOUR, DAY)) == [Interval(at(9), at(10)), Interval(at(11), at(12))]


def test_slots_suit_everybody():
    ana, bob = make("mon 09:00-12:00"), make("mon 11:00-15:00")
    assert list(find_slots([ana, bob], HOUR, DAY)) == [Interval(at(11), at(12))]


def test_slots_are_aligned_and_limited():
    ana = make("mon 09:00-12:00")
    ana.book(at(9), timedelta(minutes=5))
    (slot,) = find_slots([ana], HOUR, DAY, limit=1)
    assert slot.start == at(9, 15)


def test_buffer():
    ana = make("mon 09:00-12:00", buffer=timedelta(minutes=10))
    ana.book(at(10), HOUR)
    assert [(g.start, g.end) for g in ana.free(DAY)] == [(at(9), at(9, 50)), (at(11, 10), at(12))]


def test_cancel():
    ana = make()
    meeting = ana.book(at(10), HOUR)
    assert ana.cancel(meeting)
    assert not ana.cancel(meeting)
    assert len(ana.busy(DAY)) == 0


def test_no_time_at_all():
    with pytest.raises(ValueError):
        list(find_slots([make()], timedelta(), DAY))
