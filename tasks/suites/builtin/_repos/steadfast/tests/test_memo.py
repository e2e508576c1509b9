from steadfast import memoize


def test_remembers():
    calls = []

    @memoize(maxsize=2)
    def double(n):
        calls.append(n)
        return 2 * n

    assert [double(1), double(1), double(2)] == [2, 2, 4]
    assert calls == [1, 2]
    double.forget(1)
    double(1)
    assert calls == [1, 2, 1]


def test_results_grow_old():
    now = [0.0]
    calls = []

    @memoize(ttl=5, time_func=lambda: now[0])
    def func():
        calls.append(1)

    func()
    now[0] = 5
    func()
    assert len(calls) == 2
