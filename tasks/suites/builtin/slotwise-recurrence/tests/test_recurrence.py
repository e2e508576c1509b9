from datetime import date, datetime, timedelta
from itertools import count, islice

import pytest

from slotwise import (
    Calendar,
    Interval,
    Rule,
    RuleError,
    Series,
    SlotwiseError,
    WorkingHours,
    find_slots,
)

HOUR = timedelta(hours=1)


def days(rule, start, limit=6):
    return [f"{moment:%y-%m-%d}" for moment in islice(rule.occurrences(start), limit)]


@pytest.mark.parametrize(
    ("text", "start", "expected"),
    [
        ("daily", (2024, 2, 28), "24-02-28 24-02-29 24-03-01 24-03-02 24-03-03 24-03-04"),
        ("daily; every 10; count 3", (2024, 5, 1), "24-05-01 24-05-11 24-05-21"),
        ("daily; until 2024-05-03", (2024, 5, 1), "24-05-01 24-05-02 24-05-03"),
        ("weekly; count 2", (2024, 5, 8), "24-05-08 24-05-15"),
        ("weekly; on mon; every 2; count 2", (2024, 5, 8), "24-05-20 24-06-03"),
        ("weekly; on fri, tue; count 4", (2024, 5, 8), "24-05-10 24-05-14 24-05-17 24-05-21"),
        ("weekly; every 3; on wed, sun; count 4", (2024, 5, 8), "24-05-08 24-05-12 24-05-29 24-06-02"),
        ("monthly; count 5", (2024, 1, 31), "24-01-31 24-02-29 24-03-31 24-04-30 24-05-31"),
        ("monthly; every 12; count 3", (2024, 2, 29), "24-02-29 25-02-28 26-02-28"),
        ("monthly; on 2nd tue; count 3", (2024, 5, 15), "24-06-11 24-07-09 24-08-13"),
        ("monthly; on last fri, 1st mon; count 4", (2024, 5, 7), "24-05-31 24-06-03 24-06-28 24-07-01"),
        ("monthly; on 5th wed; count 3", (2024, 5, 1), "24-05-29 24-07-31 24-10-30"),
        ("monthly; on 5th fri, last fri; count 3", (2024, 5, 1), "24-05-31 24-06-28 24-07-26"),
        ("monthly; every 2; on 1st sun; until 2024-09-01", (2024, 5, 1), "24-05-05 24-07-07 24-09-01"),
    ],
    ids=count(1),
)
def test_occurrences(text, start, expected):
    assert days(Rule.parse(text), datetime(*start, 9)) == expected.split()


def test_all_have_the_time_of_the_start():
    start = datetime(2024, 5, 6, 9, 30, 15)
    rule = Rule("weekly", on=(0, 4))
    assert {moment.time() for moment in islice(rule.occurrences(start), 20)} == {start.time()}


def test_until_is_about_days():
    rule = Rule("daily", until=date(2024, 5, 7))
    assert len(list(rule.occurrences(datetime(2024, 5, 6, 23, 59)))) == 2


def test_until_before_the_start():
    assert list(Rule("daily", until=date(2024, 5, 5)).occurrences(datetime(2024, 5, 6))) == []


def test_on_is_sorted_and_unique():
    assert Rule("weekly", on=(4, 0, 4)).on == (0, 4)
    assert Rule("weekly", on=(4, 0)) == Rule("weekly", on=(0, 4, 0))


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("DAILY", "daily"),
        ("daily; every 1", "daily"),
        (" weekly ;ON  wed,mon ; every 2;until 2024-06-01", "weekly; every 2; on mon, wed; until 2024-06-01"),
        ("weekly; count 3; on sun,sun", "weekly; on sun; count 3"),
        ("monthly; on 2nd tue, last fri, 2nd mon", "monthly; on last fri, 2nd mon, 2nd tue"),
    ],
    ids=count(1),
)
def test_text(text, canonical):
    rule = Rule.parse(text)
    assert str(rule) == canonical
    assert Rule.parse(str(rule)) == rule


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yearly",
        "daily; every 0",
        "daily; every x",
        "daily; count 0",
        "daily; on mon",
        "weekly; on 1st mon",
        "weekly; on mon wed",
        "weekly; on",
        "monthly; on mon",
        "monthly; on 6th mon",
        "weekly; until 2024-13-01",
        "weekly; until tomorrow",
        "weekly; count 2; until 2024-06-01",
        "weekly; every 2; every 2",
        "weekly; sometimes",
    ],
    ids=count(1),
)
def test_refused_text(text):
    with pytest.raises(RuleError):
        Rule.parse(text)


@pytest.mark.parametrize(
    "fields",
    [
        {"freq": "hourly"},
        {"freq": "daily", "every": 0},
        {"freq": "daily", "on": (1,)},
        {"freq": "weekly", "on": (7,)},
        {"freq": "weekly", "on": ((1, 0),)},
        {"freq": "monthly", "on": (1,)},
        {"freq": "monthly", "on": ((0, 1),)},
        {"freq": "daily", "count": -1},
        {"freq": "daily", "count": 1, "until": date(2024, 1, 1)},
    ],
    ids=count(1),
)
def test_refused_fields(fields):
    with pytest.raises(RuleError):
        Rule(**fields)


def test_the_error_is_a_value_error_too():
    assert issubclass(RuleError, ValueError)
    assert issubclass(RuleError, SlotwiseError)


def at(day, hour, minute=0):
    return datetime(2024, 5, day, hour, minute)


def window(first, last):
    return Interval(datetime(2024, 5, first), datetime(2024, 5, last))


def starts(series, within):
    return [meeting.start for meeting in series.expand(within)]


def test_expand_takes_what_overlaps_whole():
    night = Series(at(1, 22), timedelta(hours=4), Rule("daily"))
    found = night.expand(Interval(at(3, 1), at(3, 22)))
    assert found == [Interval(at(2, 22), at(3, 2))]
    assert night.expand(Interval(at(3, 2), at(3, 22))) == []


def test_long_meetings_overlap_each_other():
    camp = Series(at(1, 0), timedelta(days=3), Rule("daily"))
    assert starts(camp, Interval(at(10, 12), at(10, 13))) == [at(8, 0), at(9, 0), at(10, 0)]


def test_skip_counts():
    series = Series(at(6, 9), HOUR, Rule("daily", count=3))
    series.skip(at(7, 9))
    assert starts(series, window(1, 31)) == [at(6, 9), at(8, 9)]


def test_move_in_and_out():
    series = Series(at(6, 9), HOUR, Rule("weekly", count=3))
    series.move(at(13, 9), at(29, 15), 2 * HOUR)
    assert starts(series, window(12, 15)) == []
    assert series.expand(window(29, 30)) == [Interval(at(29, 15), at(29, 17))]
    assert starts(series, window(1, 31)) == [at(6, 9), at(20, 9), at(29, 15)]


def test_move_before_the_start_and_beyond_the_end():
    series = Series(at(6, 9), HOUR, Rule("daily", until=date(2024, 5, 8)))
    series.move(at(7, 9), at(2, 9))
    series.move(at(8, 9), at(30, 9))
    assert starts(series, window(1, 4)) == [at(2, 9)]
    assert starts(series, window(25, 31)) == [at(30, 9)]


def test_later_changes_win():
    series = Series(at(6, 9), HOUR, Rule("daily", count=2))
    series.move(at(7, 9), at(9, 9))
    series.move(at(7, 9), at(10, 9))
    assert starts(series, window(1, 31)) == [at(6, 9), at(10, 9)]
    series.skip(at(7, 9))
    assert starts(series, window(1, 31)) == [at(6, 9)]
    series.move(at(7, 9), at(7, 11))
    assert starts(series, window(1, 31)) == [at(6, 9), at(7, 11)]


def test_moved_onto_another_occurrence():
    series = Series(at(6, 9), HOUR, Rule("daily", count=3))
    series.move(at(6, 9), at(7, 9))
    assert starts(series, window(1, 31)) == [at(7, 9), at(7, 9), at(8, 9)]


@pytest.mark.parametrize("moment", [at(6, 10), at(5, 9), at(9, 9)], ids=count(1))
def test_only_occurrences_can_be_changed(moment):
    series = Series(at(6, 9), HOUR, Rule("daily", count=3))
    with pytest.raises(RuleError):
        series.skip(moment)
    with pytest.raises(RuleError):
        series.move(moment, at(20, 9))


def test_meetings_take_time():
    with pytest.raises(RuleError):
        Series(at(6, 9), timedelta(), Rule("daily"))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule("daily", every=2), "9024-01-02 9024-01-04"),
        (Rule("weekly", every=2, on=(0, 3)), "9024-01-01 9024-01-12"),
        (Rule("monthly", every=3), "9024-02-06 9024-05-06"),
        (Rule("monthly", on=((-1, 4),)), "9024-01-30 9024-02-27"),
    ],
    ids=count(1),
)
def test_windows_far_away(rule, expected):
    series = Series(at(6, 9), HOUR, rule)
    found = series.expand(Interval(datetime(9024, 1, 1), datetime(9024, 6, 1)))
    assert [f"{meeting.start:%Y-%m-%d}" for meeting in found[:2]] == expected.split()


def test_calendars_know_series():
    ana = Calendar("ana", WorkingHours.parse("mon-fri 09:00-12:00"), buffer=timedelta(minutes=15))
    ana.book(at(6, 11, 30), timedelta(minutes=30), "call")
    series = Series(at(6, 9), HOUR, Rule("daily"), "stand-up")
    assert ana.add_series(series) is series
    day = window(6, 7)
    assert ana.agenda(day) == [
        (Interval(at(6, 9), at(6, 10)), "stand-up"),
        (Interval(at(6, 11, 30), at(6, 12)), "call"),
    ]
    assert list(ana.busy(day)) == [Interval(at(6, 9), at(6, 10)), Interval(at(6, 11, 30), at(6, 12))]
    assert list(ana.free(day)) == [Interval(at(6, 10, 15), at(6, 11, 15))]
    assert list(find_slots([ana], HOUR, day)) == [Interval(at(6, 10, 15), at(6, 11, 15))]


def test_calendars_see_later_changes():
    ana = Calendar("ana")
    series = ana.add_series(Series(at(6, 9), HOUR, Rule("daily")))
    series.skip(at(7, 9))
    series.move(at(8, 9), at(8, 20))
    assert list(ana.busy(window(7, 9))) == [Interval(at(8, 20), at(8, 21))]


def test_the_agenda_is_sorted_by_time_then_title():
    ana = Calendar("ana")
    for title in ("b", "c", "a"):
        ana.add_series(Series(at(6, 9), HOUR, Rule("daily", count=1), title))
    ana.book(at(6, 8), HOUR, "z")
    assert [title for _, title in ana.agenda(window(6, 7))] == ["z", "a", "b", "c"]
