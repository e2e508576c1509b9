import random

import pytest

from steadfast import TTLCache, memoize


class Time:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def time():
    return Time()


def counts(cache):
    stats = cache.stats()
    return stats.hits, stats.misses, stats.evictions, stats.expirations


def test_overwriting_evicts_nobody(time):
    cache = TTLCache(2, timer=time)
    cache["a"], cache["b"] = 1, 2
    cache["a"] = 3
    assert list(cache) == ["b", "a"]
    assert cache["a"] == 3
    assert counts(cache)[2:] == (0, 0)


def test_peek_shows_what_is_there(time):
    cache = TTLCache(2, ttl=10, timer=time)
    cache["a"] = 1
    assert (cache.peek("a"), cache.peek("b"), cache.peek("b", 7)) == (1, None, 7)
    time.now += 10
    assert cache.peek("a", 7) == 7


def test_writing_counts_as_use(time):
    cache = TTLCache(2, timer=time)
    cache["a"], cache["b"] = 1, 2
    cache["a"] = 1
    cache["c"] = 3
    assert list(cache) == ["a", "c"]


def test_expired_ones_go_first(time):
    cache = TTLCache(2, timer=time)
    cache.set("old", 1)
    cache.set("brief", 2, ttl=5)
    time.now += 5
    cache["new"] = 3
    assert list(cache) == ["old", "new"]
    assert counts(cache)[2:] == (0, 1)


def test_overwriting_an_expired_key(time):
    cache = TTLCache(2, ttl=10, timer=time)
    cache["a"] = 1
    time.now += 6
    cache["b"] = 2
    time.now += 4
    cache["a"] = 3
    assert list(cache) == ["b", "a"]
    assert counts(cache)[2:] == (0, 1)


@pytest.mark.parametrize(("wait", "alive"), [(9.5, True), (10, False), (10.5, False)])
def test_the_moment_of_expiry(time, wait, alive):
    cache = TTLCache(2, ttl=10, timer=time)
    cache["a"] = 1
    time.now += wait
    assert ("a" in cache) is alive
    assert (cache.get("a") == 1) is alive
    assert len(cache) == alive


@pytest.mark.parametrize("read", ["get", "item", "peek", "in", "get_or_set"])
def test_reading_does_not_prolong(time, read):
    cache = TTLCache(2, ttl=10, timer=time)
    cache["a"] = 1
    for _ in range(3):
        time.now += 3
        {
            "get": lambda: cache.get("a"),
            "item": lambda: cache["a"],
            "peek": lambda: cache.peek("a"),
            "in": lambda: "a" in cache,
            "get_or_set": lambda: cache.get_or_set("a", lambda: 2),
        }[read]()
    time.now += 1
    assert "a" not in cache


def test_an_entry_keeps_its_own_ttl(time):
    cache = TTLCache(3, ttl=10, timer=time)
    cache.set("long", 1, ttl=100)
    cache.set("default", 2, ttl=None)
    time.now += 5
    assert cache["long"] == 1
    time.now += 50
    assert cache.get("long") == 1
    assert cache.get("default") is None
    time.now += 45
    assert cache.get("long") is None


@pytest.mark.parametrize(("touch", "kept"), [("get", "a"), ("item", "a"), ("in", "b"), ("peek", "b"), ("len", "b"), ("iter", "b")])
def test_what_counts_as_use(time, touch, kept):
    cache = TTLCache(2, timer=time)
    cache["a"], cache["b"] = 1, 2
    {
        "get": lambda: cache.get("a"),
        "item": lambda: cache["a"],
        "in": lambda: "a" in cache,
        "peek": lambda: cache.peek("a"),
        "len": lambda: len(cache),
        "iter": lambda: list(cache),
    }[touch]()
    cache["c"] = 3
    assert list(cache) == [kept, "c"]


def test_stats(time):
    cache = TTLCache(2, ttl=10, timer=time)
    cache.get("a")
    cache["a"] = 1
    cache["a"]
    cache.peek("a"), cache.peek("b"), "a" in cache, "b" in cache, len(cache), list(cache)
    with pytest.raises(KeyError):
        cache["b"]
    cache.get_or_set("a", lambda: 2)
    cache.get_or_set("c", lambda: 2)
    assert counts(cache) == (2, 3, 0, 0)
    cache["d"] = 4
    assert counts(cache) == (2, 3, 1, 0)
    time.now += 10
    assert cache.get("c") is None
    assert len(cache) == 0
    assert counts(cache) == (2, 4, 1, 2)


def test_memoize_expires_though_often_called():
    time, calls = Time(), []

    @memoize(ttl=10, time_func=time)
    def func():
        calls.append(time.now)

    for _ in range(11):
        func()
        time.now += 2
    assert calls == [1000, 1010, 1020]


@pytest.mark.parametrize("seed", range(8))
def test_like_a_simple_model(seed):
    rng, time = random.Random(seed), Time()
    cache = TTLCache(4, ttl=20, timer=time)
    model = {}  # key -> (value, expires), least recently used first
    for step in range(400):
        time.now += rng.choice([0, 0, 1, 5])
        model = {key: entry for key, entry in model.items() if time.now < entry[1]}
        key = rng.randrange(7)
        if rng.random() < 0.5:
            ttl = rng.choice([None, 3, 60])
            cache.set(key, step, ttl)
            if key not in model and len(model) == 4:
                del model[next(iter(model))]
            model.pop(key, None)
            model[key] = (step, time.now + (20 if ttl is None else ttl))
        elif rng.random() < 0.7:
            found = cache.get(key)
            assert found == (model[key][0] if key in model else None)
            if key in model:
                model[key] = model.pop(key)
        else:
            assert (key in cache) == (key in model)
        assert list(cache) == list(model)
