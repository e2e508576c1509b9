import pytest

from steadfast import RetryPolicy, retry


def failing(times, error=ConnectionError):
    calls = []

    def func():
        calls.append(1)
        if len(calls) <= times:
            raise error("no")
        return len(calls)

    return func


def test_tries_again():
    slept = []
    func = retry(RetryPolicy(attempts=3, base=1), sleep=slept.append)(failing(2))
    assert func() == 3
    assert slept == [1, 2]


def test_gives_up():
    func = retry(RetryPolicy(attempts=2), sleep=lambda seconds: None)(failing(2))
    with pytest.raises(ConnectionError):
        func()


def test_only_what_is_asked_for():
    slept = []
    func = retry(RetryPolicy(), on=(TimeoutError,), sleep=slept.append)(failing(1))
    with pytest.raises(ConnectionError):
        func()
    assert slept == []


@pytest.mark.parametrize("options", [{"attempts": 0}, {"base": -1}, {"factor": 0.5}, {"jitter": 2}])
def test_refused(options):
    with pytest.raises(ValueError):
        RetryPolicy(**options)
