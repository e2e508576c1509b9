"""Interval sets, working hours, recurring events and meeting slots."""

from slotwise.errors import EmptyInterval, HoursError, RuleError, SlotwiseError
from slotwise.hours import WorkingHours
from slotwise.interval import Interval
from slotwise.intervalset import IntervalSet
from slotwise.planner import Calendar, find_slots
from slotwise.recur import Rule, Series

__all__ = [
    "Calendar",
    "EmptyInterval",
    "HoursError",
    "Interval",
    "IntervalSet",
    "Rule",
    "RuleError",
    "Series",
    "SlotwiseError",
    "WorkingHours",
    "find_slots",
]
