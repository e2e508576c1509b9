from datetime import datetime, timedelta
from itertools import islice

from slotwise import Calendar, Interval, Rule, Series


def test_every_other_week():
    rule = Rule.parse("weekly; every 2; on mon, wed")
    days = [f"{moment:%m-%d}" for moment in islice(rule.occurrences(datetime(2024, 5, 6, 9)), 4)]
    assert days == ["05-06", "05-08", "05-20", "05-22"]


def test_a_series_is_busy_time():
    ana = Calendar("ana")
    ana.add_series(Series(datetime(2024, 5, 6, 9), timedelta(hours=1), Rule("daily"), "stand-up"))
    week = Interval(datetime(2024, 5, 6), datetime(2024, 5, 13))
    assert ana.busy(week).measure(timedelta()) == timedelta(hours=7)
