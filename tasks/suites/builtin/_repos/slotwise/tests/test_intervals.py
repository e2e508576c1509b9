import pytest

from slotwise import EmptyInterval, Interval, IntervalSet


@pytest.mark.parametrize(("start", "end"), [(3, 3), (4, 3)])
def test_never_empty(start, end):
    with pytest.raises(EmptyInterval):
        Interval(start, end)


def test_half_open():
    assert 1 in Interval(1, 3)
    assert 3 not in Interval(1, 3)
    assert not Interval(1, 3).overlaps(Interval(3, 5))
    assert Interval(1, 3).touches(Interval(3, 5))


def test_clip():
    assert Interval(1, 9).clip(Interval(4, 20)) == Interval(4, 9)
    assert Interval(1, 4).clip(Interval(4, 20)) is None


def test_normal_form():
    made = IntervalSet.of((5, 8), (1, 2), (6, 10), (12, 13))
    assert list(made) == [Interval(1, 2), Interval(5, 10), Interval(12, 13)]


def test_union():
    assert IntervalSet.of((1, 4)) | IntervalSet.of((2, 6), (9, 10)) == IntervalSet.of((1, 6), (9, 10))


def test_intersection():
    left = IntervalSet.of((1, 5), (7, 12))
    assert left & IntervalSet.of((3, 8)) == IntervalSet.of((3, 5), (7, 8))


def test_difference_makes_holes():
    assert IntervalSet.of((0, 10)) - IntervalSet.of((3, 4), (6, 7)) == IntervalSet.of(
        (0, 3), (4, 6), (7, 10)
    )


def test_membership():
    some = IntervalSet.of((1, 3), (5, 8))
    assert [point for point in range(10) if point in some] == [1, 2, 5, 6, 7]


def test_overlapping():
    some = IntervalSet.of((1, 3), (5, 8), (10, 12))
    assert some.overlapping(Interval(6, 11)) == [Interval(5, 8), Interval(10, 12)]


def test_measure_and_span():
    some = IntervalSet.of((1, 3), (5, 8))
    assert some.measure() == 5
    assert some.span() == Interval(1, 8)
    assert IntervalSet().span() is None


def test_covers():
    some = IntervalSet.of((1, 4), (6, 9))
    assert some.covers(Interval(6, 9))
    assert not some.covers(Interval(3, 7))
