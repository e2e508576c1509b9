import pytest

from steadfast import SlidingWindow, TokenBucket


def test_nonsense_is_refused():
    with pytest.raises(ValueError):
        TokenBucket(rate=0, capacity=1)
    with pytest.raises(ValueError):
        SlidingWindow(limit=0, window=1)
