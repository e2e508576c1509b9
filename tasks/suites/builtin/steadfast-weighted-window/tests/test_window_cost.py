import pytest

from steadfast import SlidingWindow


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def window(clock):
    return SlidingWindow(5, 10.0, clock=clock)


def test_a_call_counts_as_several(window):
    assert window.try_acquire(3)
    assert window.remaining() == 2
    assert not window.try_acquire(3)
    assert window.remaining() == 2
    assert window.try_acquire(cost=2)
    assert window.remaining() == 0


def test_the_whole_limit_at_once(window):
    assert window.try_acquire(5)
    assert not window.try_acquire()


def test_costs_are_given_back_together(window, clock):
    assert window.try_acquire(2)
    clock.now += 4
    assert window.try_acquire(3)
    clock.now += 6
    assert window.remaining() == 2
    clock.now += 4
    assert window.remaining() == 5


def test_how_long_a_heavy_call_waits(window, clock):
    assert window.wait_time(5) == 0.0
    window.try_acquire(2)
    clock.now += 4
    window.try_acquire(2)
    assert window.wait_time() == 0.0
    assert window.wait_time(cost=2) == pytest.approx(6.0)
    assert window.wait_time(3) == pytest.approx(6.0)
    assert window.wait_time(4) == pytest.approx(10.0)
    assert window.wait_time(5) == pytest.approx(10.0)


def test_without_a_cost_all_is_as_before(window, clock):
    for _ in range(5):
        assert window.try_acquire()
    assert not window.try_acquire()
    assert window.wait_time() == pytest.approx(10.0)
    clock.now += 10
    assert window.try_acquire()


@pytest.mark.parametrize("cost", [0, -1, 6])
def test_costs_that_make_no_sense(window, cost):
    with pytest.raises(ValueError):
        window.try_acquire(cost=cost)
    with pytest.raises(ValueError):
        window.wait_time(cost=cost)
    assert window.remaining() == 5
