"""The time that an agent takes, without what the machine does on its own account meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """A clock that can be stopped."""

    def __init__(self) -> None:
        self._stops = 0
        self._stopped_at = 0.0
        self._lost = 0.0

    def now(self) -> float:
        """Seconds since some moment, without those in which it was stopped."""
        return (self._stopped_at if self._stops else time.monotonic()) - self._lost

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It stands still meanwhile; side by side and within one another as well."""
        if not self._stops:
            self._stopped_at = time.monotonic()
        self._stops += 1
        try:
            yield
        finally:
            self._stops -= 1
            if not self._stops:
                self._lost += time.monotonic() - self._stopped_at
