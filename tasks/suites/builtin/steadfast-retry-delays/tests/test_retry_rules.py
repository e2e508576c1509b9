import random

import pytest

from steadfast import RetryPolicy, retry


class World:
    """A clock, a sleep and a function that fails."""

    def __init__(self, takes=0.0, error=None, fails=10**6):
        self.time, self.slept, self.calls = 50.0, [], 0
        self.takes, self.error, self.fails = takes, error or ConnectionError("no"), fails

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.time += seconds

    def func(self):
        self.calls += 1
        self.time += self.takes
        if self.calls <= self.fails:
            raise self.error
        return "done"

    def run(self, policy, **options):
        return retry(policy, now=self.now, sleep=self.sleep, **options)(self.func)()

    def fail(self, policy, **options):
        with pytest.raises(type(self.error)) as caught:
            self.run(policy, **options)
        assert caught.value is self.error


@pytest.mark.parametrize("attempts", [1, 2, 3, 7])
def test_attempts_are_calls(attempts):
    world = World()
    world.fail(RetryPolicy(attempts=attempts, base=1, factor=1))
    assert world.calls == attempts
    assert world.slept == [1] * (attempts - 1)


def test_delays_grow_up_to_the_cap():
    world = World()
    world.fail(RetryPolicy(attempts=6, base=1, factor=3, cap=10))
    assert world.slept == [1, 3, 9, 10, 10]


def test_short_delays():
    world = World()
    world.fail(RetryPolicy(attempts=4, base=0.125, factor=2, cap=0.25))
    assert world.slept == [0.125, 0.25, 0.25]


@pytest.mark.parametrize("seed", range(10))
def test_the_cap_holds_after_jitter(seed):
    policy = RetryPolicy(attempts=30, base=1, factor=2, cap=8, jitter=0.5)
    delays = list(policy.delays(random.Random(seed)))
    assert len(delays) == 29
    assert max(delays) <= 8
    plain = [min(8, 2**n) for n in range(29)]
    assert all(p * 0.5 <= d <= p * 1.5 for p, d in zip(plain, delays))
    assert len(set(delays)) > 10


@pytest.mark.parametrize(
    ("budget", "slept"),
    [(0.5, []), (1, [1]), (2.9, [1]), (3, [1, 2]), (6.99, [1, 2]), (7, [1, 2, 4])],
)
def test_no_sleep_beyond_the_budget(budget, slept):
    world = World()
    world.fail(RetryPolicy(attempts=10, base=1, budget=budget))
    assert world.slept == slept
    assert world.calls == len(slept) + 1
    assert world.time <= 50 + budget


def test_time_in_the_call_counts():
    world = World(takes=2)
    world.fail(RetryPolicy(attempts=10, base=1, factor=1, budget=5))
    assert (world.calls, world.slept) == (2, [1])


def test_a_success_needs_no_budget():
    world = World(takes=5, fails=0)
    assert world.run(RetryPolicy(budget=1)) == "done"


class Busy(Exception):
    def __init__(self, retry_after):
        self.retry_after = retry_after


@pytest.mark.parametrize(
    ("retry_after", "slept"), [(5, [5, 5]), (1.5, [1.5, 2]), (0, [1, 2]), (None, [1, 2]), (100, [100, 100])]
)
def test_retry_after(retry_after, slept):
    world = World(error=Busy(retry_after))
    world.fail(RetryPolicy(attempts=3, base=1, cap=30))
    assert world.slept == slept


def test_retry_after_beyond_the_budget():
    world = World(error=Busy(5))
    world.fail(RetryPolicy(attempts=3, base=1, budget=4))
    assert world.slept == []


def test_before_sleep_hears_of_each_delay():
    heard = []
    world = World(error=Busy(3), fails=2)
    result = world.run(RetryPolicy(base=1), before_sleep=lambda error, delay: heard.append((error, delay)))
    assert result == "done"
    assert heard == [(world.error, 3), (world.error, 3)]


def test_before_sleep_is_silent_when_giving_up():
    heard = []
    world = World()
    world.fail(RetryPolicy(attempts=3, base=1, budget=1), before_sleep=lambda e, d: heard.append(d))
    assert heard == [1]
