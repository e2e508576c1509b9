import pytest

from steadfast import SlidingWindow, TokenBucket


class Time:
    def __init__(self):
        self.now = 100.0
        self.slept = []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def bucket(time):
    return TokenBucket(rate=2, capacity=4, clock=time, sleep=time.sleep)


def test_a_bucket_starts_full(bucket):
    assert bucket.tokens == 4
    assert bucket.try_acquire(4)
    assert bucket.tokens == 0


def test_all_or_nothing(bucket):
    assert bucket.try_acquire(3)
    assert not bucket.try_acquire(2)
    assert bucket.tokens == 1
    assert bucket.try_acquire()
    assert not bucket.try_acquire()


def test_refills_up_to_its_capacity(bucket, time):
    bucket.try_acquire(4)
    time.now += 0.5
    assert bucket.tokens == 1
    time.now += 100
    assert bucket.tokens == 4


def test_a_clock_that_is_set_back(bucket, time):
    bucket.try_acquire(2)
    time.now -= 50
    assert bucket.tokens == 2


def test_wait_time(bucket, time):
    assert bucket.wait_time(4) == 0
    bucket.try_acquire(3)
    assert bucket.wait_time() == 0
    assert bucket.wait_time(4) == 1.5
    time.now += 1.5
    assert bucket.wait_time(4) == 0
    assert bucket.try_acquire(4)


def test_acquire_sleeps_as_needed(bucket, time):
    assert bucket.acquire(4)
    assert time.slept == []
    assert bucket.acquire(3)
    assert time.slept == [1.5]
    assert bucket.tokens == 0


@pytest.mark.parametrize(("timeout", "granted"), [(0, False), (1.49, False), (1.5, True), (9, True)])
def test_timeout(bucket, time, timeout, granted):
    bucket.try_acquire(4)
    assert bucket.acquire(3, timeout=timeout) is granted
    assert time.slept == ([1.5] if granted else [])
    assert bucket.tokens == 0


def test_a_refused_acquire_takes_nothing(bucket):
    bucket.try_acquire(2)
    assert not bucket.acquire(4, timeout=0.5)
    assert bucket.tokens == 2


@pytest.mark.parametrize("n", [0, -1, 4.5])
def test_impossible_amounts(bucket, n):
    for method in (bucket.try_acquire, bucket.wait_time, bucket.acquire):
        with pytest.raises(ValueError):
            method(n)


@pytest.mark.parametrize(("rate", "capacity"), [(0, 1), (1, 0), (-1, 1)])
def test_impossible_buckets(rate, capacity):
    with pytest.raises(ValueError):
        TokenBucket(rate, capacity)


@pytest.fixture
def window(time):
    return SlidingWindow(limit=2, window=10, clock=time)


def test_a_window_has_a_limit(window):
    assert [window.try_acquire() for _ in range(3)] == [True, True, False]


def test_it_slides(window, time):
    assert window.try_acquire()
    time.now += 6
    assert window.try_acquire()
    time.now += 3.5
    assert not window.try_acquire()
    time.now += 0.5
    assert window.try_acquire()
    assert not window.try_acquire()
    time.now += 6
    assert window.try_acquire()


def test_refused_calls_do_not_count(window, time):
    window.try_acquire(), window.try_acquire()
    time.now += 5
    assert not window.try_acquire()
    time.now += 5
    assert [window.try_acquire() for _ in range(3)] == [True, True, False]


def test_window_wait_time(window, time):
    assert window.wait_time() == 0
    window.try_acquire()
    time.now += 4
    assert window.wait_time() == 0
    window.try_acquire()
    assert window.wait_time() == 6
    time.now += 6
    assert window.wait_time() == 0


def test_remaining(window, time):
    assert window.remaining() == 2
    window.try_acquire()
    time.now += 4
    window.try_acquire()
    assert window.remaining() == 0
    time.now += 6
    assert window.remaining() == 1
    time.now += 4
    assert window.remaining() == 2


@pytest.mark.parametrize(("limit", "seconds"), [(0, 1), (1, 0)])
def test_impossible_windows(limit, seconds):
    with pytest.raises(ValueError):
        SlidingWindow(limit, seconds)
