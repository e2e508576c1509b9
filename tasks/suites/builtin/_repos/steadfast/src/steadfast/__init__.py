"""Caches, rate limits, retries and circuit breakers."""

from steadfast.breaker import CircuitBreaker
from steadfast.cache import CacheStats, TTLCache
from steadfast.errors import CircuitOpen, SteadfastError
from steadfast.limiter import SlidingWindow, TokenBucket
from steadfast.memo import memoize
from steadfast.retry import RetryPolicy, retry

__all__ = [
    "CacheStats",
    "CircuitBreaker",
    "CircuitOpen",
    "RetryPolicy",
    "SlidingWindow",
    "SteadfastError",
    "TTLCache",
    "TokenBucket",
    "memoize",
    "retry",
]
