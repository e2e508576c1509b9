from datetime import datetime, timedelta

import pytest

from slotwise import Calendar, Interval, IntervalSet, WorkingHours, find_slots

DAY = Interval(datetime(2024, 5, 6), datetime(2024, 5, 7))
HOUR = timedelta(hours=1)


def at(hour, minute=0):
    return datetime(2024, 5, 6, hour, minute)


def points(some):
    return {point for item in some for point in range(item.start, item.end)}


@pytest.mark.parametrize(
    ("pairs", "normal"),
    [
        ([(1, 3), (3, 5)], [(1, 5)]),
        ([(3, 5), (1, 3), (5, 9)], [(1, 9)]),
        ([(1, 3), (4, 5)], [(1, 3), (4, 5)]),
        ([(1, 10), (2, 3), (10, 11)], [(1, 11)]),
    ],
)
def test_touching_intervals_are_one(pairs, normal):
    assert [(item.start, item.end) for item in IntervalSet.of(*pairs)] == normal
    halves = IntervalSet.of(*pairs[:1]) | IntervalSet.of(*pairs[1:])
    assert [(item.start, item.end) for item in halves] == normal


@pytest.mark.parametrize(
    ("some", "holes"),
    [
        ([(0, 4), (6, 10)], [(2, 8)]),
        ([(0, 2), (3, 5), (6, 8)], [(1, 7)]),
        ([(0, 2), (3, 5), (6, 8), (9, 12)], [(1, 4), (4, 10)]),
        ([(0, 20)], [(0, 1), (3, 5), (19, 30)]),
        ([(5, 6), (8, 9)], [(0, 100)]),
        ([(0, 3), (5, 9)], [(3, 5)]),
        ([(0, 3), (5, 9)], [(2, 6), (8, 12)]),
    ],
)
def test_difference_is_one_of_points(some, holes):
    left, right = IntervalSet.of(*some), IntervalSet.of(*holes)
    assert points(left - right) == points(left) - points(right)


def test_a_long_meeting_blocks_both_halves():
    ana = Calendar("ana", WorkingHours.parse("mon 09:00-12:00 13:00-17:00"))
    ana.book(at(11), timedelta(hours=4))
    assert list(ana.free(DAY)) == [Interval(at(9), at(11)), Interval(at(15), at(17))]
    starts = [slot.start for slot in find_slots([ana], HOUR, DAY)]
    assert starts == [at(9), at(10), at(15), at(16)]


def test_a_whole_day_meeting_blocks_every_part():
    ana = Calendar("ana", WorkingHours.parse("mon 08:00-09:00 10:00-11:00 12:00-13:00 14:00-15:00"))
    ana.book(at(8, 30), timedelta(hours=6))
    assert list(ana.free(DAY)) == [Interval(at(8), at(8, 30)), Interval(at(14, 30), at(15))]


@pytest.mark.parametrize("minutes", [5, 20, 45])
def test_buffers_reach_in_from_both_sides(minutes):
    buffer = timedelta(minutes=minutes)
    ana = Calendar("ana", buffer=buffer)
    ana.book(at(8), HOUR)
    ana.book(at(12), HOUR)
    assert list(ana.free(Interval(at(9), at(12)))) == [Interval(at(9) + buffer, at(12) - buffer)]


def test_a_meeting_far_outside_does_not_matter():
    ana = Calendar("ana", buffer=timedelta(minutes=30))
    ana.book(at(7), HOUR)
    window = Interval(at(9), at(12))
    assert list(ana.free(window)) == [window]


def test_back_to_back_meetings_are_one_block():
    ana = Calendar("ana")
    for hour in (9, 10, 11, 14):
        ana.book(at(hour), HOUR)
    assert list(ana.busy(DAY)) == [Interval(at(9), at(12)), Interval(at(14), at(15))]


def test_nights_do_not_cut_round_the_clock_hours():
    week = Interval(datetime(2024, 5, 6), datetime(2024, 5, 13))
    assert list(WorkingHours.always().within(week)) == [week]
