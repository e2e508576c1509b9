"""Costs are counted in comparisons of endpoints, so they don't depend on the machine."""

import random

import pytest

from slotwise import Interval, IntervalSet


class Point:
    """An endpoint that counts how often it is compared."""

    compared = 0

    def __init__(self, value):
        self.value = value

    def __lt__(self, other):
        Point.compared += 1
        return self.value < other.value

    def __le__(self, other):
        Point.compared += 1
        return self.value <= other.value

    def __gt__(self, other):
        Point.compared += 1
        return self.value > other.value

    def __ge__(self, other):
        Point.compared += 1
        return self.value >= other.value

    def __eq__(self, other):
        Point.compared += 1
        return self.value == other.value

    def __hash__(self):
        return hash(self.value)


def make(count, offset=0, width=4, gap=10):
    return IntervalSet(
        Interval(Point(n * gap + offset), Point(n * gap + offset + width)) for n in range(count)
    )


def plain(some):
    return [(item.start.value, item.end.value) for item in some]


def cost(action):
    before = Point.compared
    action()
    return Point.compared - before


COMBINED = {
    "union": lambda left, right: left | right,
    "intersection": lambda left, right: left & right,
    "difference": lambda left, right: left - right,
}


@pytest.mark.parametrize("name", sorted(COMBINED))
@pytest.mark.parametrize("offset", [2, 5])
def test_combining_is_linear(name, offset):
    def work(count):
        left, right = make(count), make(count, offset)
        return cost(lambda: COMBINED[name](left, right))

    small, large = work(200), work(1600)
    # Eight times as much is linear; n log n stays below 12, and the square is 64.
    assert large <= 12 * small
    assert large <= 60 * 1600


@pytest.mark.parametrize("name", sorted(COMBINED))
def test_combining_many_with_few_is_linear(name):
    left, right = make(2000), make(300, 5)
    assert cost(lambda: COMBINED[name](left, right)) <= 60 * 2300


@pytest.mark.parametrize("name", sorted(COMBINED))
def test_long_intervals_are_no_excuse(name):
    left, right = make(1500), make(3, 1, 6000, 6500)
    assert cost(lambda: COMBINED[name](left, right)) <= 60 * 1503


def test_gaps_are_linear():
    some = make(1600)
    window = Interval(Point(-5), Point(20000))
    assert cost(lambda: some.gaps(window)) <= 60 * 1600


LOOKUPS = {
    "contains": lambda some: Point(10_001) in some,
    "missing": lambda some: Point(10_007) in some,
    "overlapping": lambda some: some.overlapping(Interval(Point(10_001), Point(10_032))),
    "covers": lambda some: some.covers(Interval(Point(10_001), Point(10_003))),
    "not covered": lambda some: some.covers(Interval(Point(10_001), Point(10_023))),
}


@pytest.mark.parametrize("name", sorted(LOOKUPS))
def test_looking_is_logarithmic(name):
    some = make(4000)
    assert cost(lambda: LOOKUPS[name](some)) <= 150


@pytest.mark.parametrize("seed", range(12))
def test_results_are_those_of_points(seed):
    rng = random.Random(seed)

    def some():
        pairs = [(start, start + rng.randint(1, 9)) for start in rng.choices(range(80), k=rng.randint(0, 12))]
        return IntervalSet.of(*pairs), {p for start, end in pairs for p in range(start, end)}

    (left, mine), (right, theirs) = some(), some()
    for made, points in (
        (left | right, mine | theirs),
        (left & right, mine & theirs),
        (left - right, mine - theirs),
        (left.gaps(Interval(10, 60)), set(range(10, 60)) - mine),
    ):
        items = list(made)
        assert {p for item in items for p in range(item.start, item.end)} == points
        assert all(a.end < b.start for a, b in zip(items, items[1:]))
    for point in range(-2, 95):
        assert (point in left) == (point in mine)
    for start in range(0, 90, 7):
        for end in range(start + 1, start + 12, 3):
            window = Interval(start, end)
            assert left.covers(window) == (set(range(start, end)) <= mine)
            assert left.overlapping(window) == [item for item in left if item.overlaps(window)]
