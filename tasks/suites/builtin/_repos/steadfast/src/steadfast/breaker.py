"""A circuit breaker."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from typing import Any

from steadfast.errors import CircuitOpen


class CircuitBreaker:
    """Refuses calls to something that keeps failing; see the README.

    Args:
        threshold: failures in a row that open it.
        recovery: seconds until a trial call.
        on: the exceptions that count as failures; others pass through uncounted.
        get_time: gives the time in seconds.
    """

    def __init__(
        self,
        threshold: int = 5,
        recovery: float = 30.0,
        *,
        on: tuple[type[BaseException], ...] = (Exception,),
        get_time: Callable[[], float] | None = None,
    ) -> None:
        if threshold < 1 or recovery < 0:
            raise ValueError("threshold must be at least 1, recovery not negative")
        self.threshold = threshold
        self.recovery = recovery
        self._on = on
        self._get_time = get_time or time.monotonic
        self._lock = threading.Lock()
        self._failures = 0
        self._opened: float | None = None
        self._trial = False

    @property
    def state(self) -> str:
        """``"closed"``, ``"open"`` or ``"half-open"``."""
        with self._lock:
            return self._state()

    def call(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call ``func`` through the breaker.

        Raises:
            CircuitOpen: the call was refused.
        """
        self._enter()
        try:
            result = func(*args, **kwargs)
        except self._on:
            self._failed()
            raise
        except BaseException:
            with self._lock:
                self._trial = False
            raise
        self._succeeded()
        return result

    def __call__(self, func: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(func)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return self.call(func, *args, **kwargs)

        return wrapper

    def _state(self) -> str:
        if self._opened is None:
            return "closed"
        return "open" if self._remaining() > 0 else "half-open"

    def _remaining(self) -> float:
        assert self._opened is not None
        return self._opened + self.recovery - self._get_time()

    def _enter(self) -> None:
        with self._lock:
            state = self._state()
            if state == "closed":
                return
            if state == "open" or self._trial:
                raise CircuitOpen(max(0.0, self._remaining()))
            self._trial = True

    def _failed(self) -> None:
        with self._lock:
            self._failures += 1
            if self._trial or self._failures >= self.threshold:
                self._opened = self._get_time()
            self._trial = False

    def _succeeded(self) -> None:
        with self._lock:
            self._failures = 0
            self._opened = None
            self._trial = False
