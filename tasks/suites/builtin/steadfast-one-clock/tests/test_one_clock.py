import ast
from pathlib import Path

import pytest

import steadfast
from steadfast import CircuitBreaker, CircuitOpen, RetryPolicy, SlidingWindow, TokenBucket, TTLCache, memoize, retry

SOURCES = sorted(path.name for path in Path(steadfast.__file__).parent.glob("*.py"))


@pytest.fixture
def clock():
    return steadfast.ManualClock(100.0)


def test_there_is_a_clock_module():
    from steadfast.clock import ManualClock, SystemClock

    assert steadfast.ManualClock is ManualClock
    assert steadfast.SystemClock is SystemClock
    assert {"ManualClock", "SystemClock"} <= set(steadfast.__all__)


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "clock.py"])
def test_only_the_clock_module_knows_time(name):
    tree = ast.parse((Path(steadfast.__file__).parent / name).read_text(encoding="utf-8"))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.Attribute):
            assert node.attr not in ("monotonic", "perf_counter", "import_module")
        elif isinstance(node, ast.Name):
            assert node.id not in ("monotonic", "__import__")
    assert "time" not in imported


def test_a_manual_clock():
    clock = steadfast.ManualClock()
    assert clock.now() == 0.0
    clock.advance(2.5)
    clock.sleep(1.5)
    assert clock.now() == 4.0
    assert steadfast.ManualClock(7.0).now() == 7.0


def test_the_system_clock_goes_on():
    clock = steadfast.SystemClock()
    before = clock.now()
    clock.sleep(0.001)
    assert clock.now() > before


def test_cache(clock):
    cache = TTLCache(2, ttl=10, clock=clock)
    cache["a"] = 1
    clock.advance(9)
    assert cache["a"] == 1
    clock.advance(1)
    assert "a" not in cache


def test_memoize(clock):
    calls = []

    @memoize(ttl=5, clock=clock)
    def func():
        calls.append(clock.now())

    for _ in range(6):
        func()
        clock.advance(1)
    assert calls == [100, 105]


def test_bucket(clock):
    bucket = TokenBucket(rate=2, capacity=4, clock=clock)
    assert bucket.acquire(4)
    assert bucket.acquire(3)
    assert clock.now() == 101.5
    assert not bucket.acquire(4, timeout=1)
    assert clock.now() == 101.5


def test_window(clock):
    window = SlidingWindow(limit=1, window=10, clock=clock)
    assert window.try_acquire()
    clock.advance(4)
    assert window.wait_time() == 6
    clock.advance(6)
    assert window.try_acquire()


def test_breaker(clock):
    breaker = CircuitBreaker(threshold=1, recovery=10, clock=clock)
    with pytest.raises(ZeroDivisionError):
        breaker.call(lambda: 1 / 0)
    with pytest.raises(CircuitOpen):
        breaker.call(lambda: 1)
    clock.advance(10)
    assert breaker.call(lambda: 1) == 1


def failing(clock):
    def func():
        clock.advance(1)
        raise ConnectionError

    return func


def test_retry(clock):
    with pytest.raises(ConnectionError):
        retry(RetryPolicy(attempts=3, base=2), clock=clock)(failing(clock))()
    assert clock.now() == 100 + 1 + 2 + 1 + 4 + 1


def test_retry_measures_its_budget(clock):
    with pytest.raises(ConnectionError):
        retry(RetryPolicy(attempts=9, base=1, factor=1, budget=4.5), clock=clock)(failing(clock))()
    assert clock.now() == 100 + 1 + 1 + 1 + 1 + 1


def test_call_takes_it_too(clock):
    from steadfast.retry import call

    with pytest.raises(ConnectionError):
        call(failing(clock), RetryPolicy(attempts=2, base=3), clock=clock)
    assert clock.now() == 105


def test_old_keywords_of_retry():
    now, slept = [0.0], []

    def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds

    def func():
        raise ConnectionError

    with pytest.raises(ConnectionError):
        retry(RetryPolicy(attempts=9, base=1, factor=1, budget=3), now=lambda: now[0], sleep=sleep)(func)()
    assert slept == [1, 1, 1]
    with pytest.raises(ConnectionError):
        retry(RetryPolicy(attempts=2, base=5), sleep=slept.append)(func)()
    assert slept[3:] == [5]


def test_old_keywords_of_the_bucket():
    now, slept = [0.0], []

    def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds

    bucket = TokenBucket(rate=1, capacity=2, clock=lambda: now[0], sleep=sleep)
    assert bucket.acquire(2) and bucket.acquire(2)
    assert slept == [2]


@pytest.mark.parametrize("kind", ["cache", "memoize", "breaker", "window"])
def test_old_keywords_of_the_others(kind):
    now = [0.0]

    def get():
        return now[0]

    if kind == "cache":
        cache = TTLCache(2, ttl=5, timer=get)
        cache["a"] = 1
        now[0] = 5
        assert "a" not in cache
    elif kind == "memoize":
        results = iter("ab")
        func = memoize(ttl=5, time_func=get)(lambda: next(results))
        assert func() == func() == "a"
        now[0] = 5
        assert func() == "b"
    elif kind == "breaker":
        breaker = CircuitBreaker(threshold=1, recovery=5, get_time=get)
        with pytest.raises(ZeroDivisionError):
            breaker.call(lambda: 1 / 0)
        assert breaker.state == "open"
        now[0] = 5
        assert breaker.state == "half-open"
    else:
        window = SlidingWindow(limit=1, window=5, clock=get)
        assert [window.try_acquire(), window.try_acquire()] == [True, False]
        now[0] = 5
        assert window.try_acquire()
