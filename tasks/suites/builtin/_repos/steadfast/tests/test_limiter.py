from steadfast import SlidingWindow, TokenBucket


def test_a_bucket_starts_full():
    bucket = TokenBucket(rate=1, capacity=2, clock=lambda: 0.0)
    assert [bucket.try_acquire() for _ in range(3)] == [True, True, False]


def test_a_window_has_a_limit():
    window = SlidingWindow(limit=2, window=10, clock=lambda: 0.0)
    assert [window.try_acquire() for _ in range(3)] == [True, True, False]
