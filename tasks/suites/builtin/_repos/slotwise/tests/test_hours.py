from datetime import date, datetime, timedelta

import pytest

from slotwise import HoursError, Interval, WorkingHours


def test_a_working_day():
    hours = WorkingHours.parse("mon-thu 09:00-12:00 13:00-17:00; fri 9:00-14:00")
    monday = hours.on(date(2024, 5, 6))
    assert [str(part.start.time()) for part in monday] == ["09:00:00", "13:00:00"]
    assert hours.on(date(2024, 5, 11)) == []


def test_over_the_weekend():
    hours = WorkingHours.parse("sat-mon 10:00-11:00")
    worked = [day for day in range(6, 13) if hours.on(date(2024, 5, day))]
    assert worked == [6, 11, 12]


def test_round_the_clock_is_one_interval():
    week = Interval(datetime(2024, 5, 6), datetime(2024, 5, 13))
    assert WorkingHours.always().within(week).measure(timedelta()) == timedelta(days=7)


@pytest.mark.parametrize("text", ["mon", "foo 09:00-10:00", "mon 9-10", "mon 10:00-09:00", "mon 23:00-25:00"])
def test_refused(text):
    with pytest.raises(HoursError):
        WorkingHours.parse(text)
