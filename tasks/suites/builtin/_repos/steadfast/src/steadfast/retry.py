"""Calling again after a failure."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how slowly to try again; see the README."""

    attempts: int = 3
    base: float = 0.1
    factor: float = 2.0
    cap: float = 30.0
    jitter: float = 0.0
    budget: float | None = None

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError("attempts must be at least 1")
        if self.base < 0 or self.cap < 0 or self.factor < 1:
            raise ValueError("base and cap must not be negative, factor at least 1")
        if not 0 <= self.jitter <= 1:
            raise ValueError("jitter must be between 0 and 1")

    def delays(self, rng: random.Random | None = None) -> Iterator[float]:
        """The delay before each retry."""
        rng = rng or random.Random()
        for retry_number in range(1, self.attempts):
            delay = min(self.cap, self.base * self.factor ** (retry_number - 1))
            if self.jitter:
                delay *= 1 + rng.uniform(-self.jitter, self.jitter)
            yield min(self.cap, delay)


def call(
    func: Callable[[], Any],
    policy: RetryPolicy,
    *,
    on: tuple[type[BaseException], ...] = (Exception,),
    before_sleep: Callable[[BaseException, float], None] | None = None,
    rng: random.Random | None = None,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Any:
    """Call ``func`` until it succeeds or the policy gives up.

    Args:
        func: what to call.
        policy: how often and how slowly.
        on: the exceptions that are worth another try.
        before_sleep: told the error and the delay before each retry.
        rng: source of the jitter.
        now: gives the time in seconds.
        sleep: waits for some seconds.
    """
    begun = now()
    delays = policy.delays(rng)
    while True:
        try:
            return func()
        except on as error:
            delay = next(delays, None)
            if delay is None:
                raise
            delay = max(delay, getattr(error, "retry_after", None) or 0.0)
            if policy.budget is not None and now() - begun + delay > policy.budget:
                raise
            if before_sleep is not None:
                before_sleep(error, delay)
            sleep(delay)


def retry(
    policy: RetryPolicy | None = None,
    *,
    on: tuple[type[BaseException], ...] = (Exception,),
    before_sleep: Callable[[BaseException, float], None] | None = None,
    rng: random.Random | None = None,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Callable[[F], F]:
    """Decorate a function with :func:`call`."""
    chosen = policy or RetryPolicy()

    def decorate(func: F) -> F:
        @functools.wraps(func)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return call(
                lambda: func(*args, **kwargs),
                chosen,
                on=on,
                before_sleep=before_sleep,
                rng=rng,
                now=now,
                sleep=sleep,
            )

        return wrapper  # type: ignore[return-value]

    return decorate
