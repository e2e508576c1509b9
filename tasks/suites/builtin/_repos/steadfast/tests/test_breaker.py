import pytest

from steadfast import CircuitBreaker, CircuitOpen


def boom():
    raise ConnectionError("boom")


def test_opens_and_recovers():
    now = [0.0]
    breaker = CircuitBreaker(threshold=2, recovery=10, get_time=lambda: now[0])
    for _ in range(2):
        with pytest.raises(ConnectionError):
            breaker.call(boom)
    assert breaker.state == "open"
    with pytest.raises(CircuitOpen) as caught:
        breaker.call(len, "abc")
    assert caught.value.remaining == 10
    now[0] = 10
    assert breaker.state == "half-open"
    assert breaker.call(len, "abc") == 3
    assert breaker.state == "closed"


def test_one_failed_trial_opens_it_again():
    now = [0.0]
    breaker = CircuitBreaker(threshold=3, recovery=5, get_time=lambda: now[0])
    for _ in range(3):
        with pytest.raises(ConnectionError):
            breaker.call(boom)
    now[0] = 5
    with pytest.raises(ConnectionError):
        breaker.call(boom)
    assert breaker.state == "open"
