"""Rate limits: a token bucket and a sliding window."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable


class TokenBucket:
    """Refills steadily, allows bursts up to its capacity.

    Args:
        rate: tokens a second.
        capacity: most tokens held at once.
        clock: gives the time in seconds.
        sleep: waits for some seconds.
    """

    def __init__(
        self,
        rate: float,
        capacity: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if rate <= 0 or capacity <= 0:
            raise ValueError("rate and capacity must be positive")
        self.rate = rate
        self.capacity = capacity
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._tokens = float(capacity)
        self._updated = clock()

    @property
    def tokens(self) -> float:
        """Tokens there are now."""
        with self._lock:
            self._refill()
            return self._tokens

    def try_acquire(self, n: float = 1) -> bool:
        """Take ``n`` tokens if they are there."""
        self._check(n)
        with self._lock:
            self._refill()
            if self._tokens < n:
                return False
            self._tokens -= n
            return True

    def wait_time(self, n: float = 1) -> float:
        """Seconds until ``n`` tokens are there, if nobody else takes any."""
        self._check(n)
        with self._lock:
            self._refill()
            return max(0.0, n - self._tokens)

    def acquire(self, n: float = 1, timeout: float | None = None) -> bool:
        """Take ``n`` tokens, sleeping as needed; False if that takes longer than ``timeout``."""
        deadline = None if timeout is None else self._clock() + timeout
        while not self.try_acquire(n):
            delay = self.wait_time(n)
            if deadline is not None and self._clock() + delay > deadline:
                return False
            self._sleep(delay)
        return True

    def _check(self, n: float) -> None:
        if n <= 0:
            raise ValueError("n must be positive")
        if n > self.capacity:
            raise ValueError(f"{n} tokens never fit a bucket of {self.capacity}")

    def _refill(self) -> None:
        now = self._clock()
        # A clock that was set back must not take tokens away.
        elapsed = max(0.0, now - self._updated)
        self._tokens = min(float(self.capacity), self._tokens + elapsed * self.rate)
        self._updated = now


class SlidingWindow:
    """At most ``limit`` calls in any ``window`` seconds.

    Args:
        limit: calls allowed.
        window: seconds.
        clock: gives the time in seconds.
    """

    def __init__(
        self, limit: int, window: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if limit < 1 or window <= 0:
            raise ValueError("limit and window must be positive")
        self.limit = limit
        self.window = window
        self._clock = clock
        self._lock = threading.Lock()
        self._calls: deque[float] = deque()

    def try_acquire(self) -> bool:
        """Count a call if it is allowed now."""
        with self._lock:
            now = self._forget()
            if len(self._calls) >= self.limit:
                return False
            self._calls.append(now)
            return True

    def remaining(self) -> int:
        """How many calls are allowed right now."""
        with self._lock:
            self._forget()
            return self.limit - len(self._calls)

    def wait_time(self) -> float:
        """Seconds until a call is allowed."""
        with self._lock:
            now = self._forget()
            if len(self._calls) < self.limit:
                return 0.0
            return self._calls[0] + self.window - now

    def _forget(self) -> float:
        now = self._clock()
        while self._calls and now - self._calls[0] >= self.window:
            self._calls.popleft()
        return now
