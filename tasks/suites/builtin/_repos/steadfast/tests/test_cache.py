import pytest

from steadfast import TTLCache


class Time:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def time():
    return Time()


def test_reads_what_was_written(time):
    cache = TTLCache(2, timer=time)
    cache["a"] = 1
    assert cache["a"] == 1
    assert cache.get("b", "none") == "none"
    with pytest.raises(KeyError):
        cache["b"]


def test_drops_the_oldest(time):
    cache = TTLCache(2, timer=time)
    for name in "abc":
        cache[name] = name
    assert list(cache) == ["b", "c"]
    assert cache.stats().evictions == 1


def test_expires(time):
    cache = TTLCache(2, ttl=10, timer=time)
    cache["a"] = 1
    time.now += 11
    assert "a" not in cache
    assert len(cache) == 0


def test_get_or_set(time):
    cache = TTLCache(2, timer=time)
    assert [cache.get_or_set("a", lambda: 5), cache.get_or_set("a", lambda: 6)] == [5, 5]
    assert cache.stats().hit_rate == 0.5


def test_pop_and_clear(time):
    cache = TTLCache(2, timer=time)
    cache["a"] = 1
    assert cache.pop("a") == 1
    assert cache.pop("a", "gone") == "gone"
    cache["b"] = 2
    cache.clear()
    assert len(cache) == 0


def test_needs_room():
    with pytest.raises(ValueError):
        TTLCache(0)
