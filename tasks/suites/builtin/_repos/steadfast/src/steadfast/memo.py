"""Remembering what functions returned."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Hashable
from typing import Any

from steadfast.cache import TTLCache

_KEYWORDS = object()


def make_key(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
    """A key for one call; the order of keyword arguments doesn't matter."""
    return (*args, _KEYWORDS, *sorted(kwargs.items())) if kwargs else args


def memoize(
    maxsize: int = 128,
    ttl: float | None = None,
    *,
    key: Callable[..., Hashable] | None = None,
    time_func: Callable[[], float] = time.monotonic,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a function so that equal calls are answered from a :class:`TTLCache`.

    Args:
        maxsize: most results kept.
        ttl: seconds that a result is good for.
        key: makes a key of the call's arguments.
        time_func: gives the time in seconds.

    The decorated function has ``cache``, the cache itself, and ``forget(*args, **kwargs)``.
    """

    def decorate(func: Callable[..., Any]) -> Callable[..., Any]:
        cache = TTLCache(maxsize, ttl, timer=time_func)

        def key_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
            return make_key(args, kwargs) if key is None else key(*args, **kwargs)

        @functools.wraps(func)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return cache.get_or_set(key_of(args, kwargs), lambda: func(*args, **kwargs))

        def forget(*args: Any, **kwargs: Any) -> None:
            cache.pop(key_of(args, kwargs))

        wrapper.cache = cache  # type: ignore[attr-defined]
        wrapper.forget = forget  # type: ignore[attr-defined]
        return wrapper

    return decorate
