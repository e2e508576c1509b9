"""A bounded mapping whose entries expire."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CacheStats:
    """Counters since the cache was made or last cleared."""

    hits: int = 0
    misses: int = 0
    evictions: int = 0
    expirations: int = 0

    @property
    def hit_rate(self) -> float:
        """Share of reads that hit; 0 before the first."""
        reads = self.hits + self.misses
        return self.hits / reads if reads else 0.0


@dataclass
class _Entry:
    value: Any
    expires: float | None


class TTLCache:
    """See the README.

    Args:
        maxsize: most entries alive at once; at least 1.
        ttl: seconds that an entry lives; None for ever.
        timer: gives the time in seconds.
    """

    def __init__(
        self,
        maxsize: int,
        ttl: float | None = None,
        *,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        if maxsize < 1:
            raise ValueError("maxsize must be at least 1")
        self.maxsize = maxsize
        self.ttl = ttl
        self._timer = timer
        self._lock = threading.RLock()
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._reset_counts()

    def _reset_counts(self) -> None:
        self._hits = self._misses = self._evictions = self._expirations = 0

    # -- reading ---------------------------------------------------------------------------------

    def get(self, key: Hashable, default: Any = None) -> Any:
        """The value, or ``default``."""
        with self._lock:
            entry = self._live(key)
            if entry is None:
                self._misses += 1
                return default
            self._hits += 1
            self._entries.move_to_end(key)
            return entry.value

    def peek(self, key: Hashable, default: Any = None) -> Any:
        """Like :meth:`get`, but leaves no trace."""
        with self._lock:
            entry = self._live(key)
            return default if entry is None else entry.value

    def __getitem__(self, key: Hashable) -> Any:
        missing = object()
        value = self.get(key, missing)
        if value is missing:
            raise KeyError(key)
        return value

    def __contains__(self, key: Hashable) -> bool:
        with self._lock:
            return self._live(key) is not None

    def __len__(self) -> int:
        with self._lock:
            self._drop_expired()
            return len(self._entries)

    def __iter__(self) -> Iterator[Hashable]:
        with self._lock:
            self._drop_expired()
            return iter(list(self._entries))

    # -- writing ---------------------------------------------------------------------------------

    def set(self, key: Hashable, value: Any, ttl: float | None = None) -> None:
        """Write an entry; ``ttl`` overrides the cache's own for it."""
        with self._lock:
            now = self._timer()
            lifetime = self.ttl if ttl is None else ttl
            expires = None if lifetime is None else now + lifetime
            if self._live(key) is None:
                self._make_room()
            self._entries[key] = _Entry(value, expires)
            self._entries.move_to_end(key)

    def __setitem__(self, key: Hashable, value: Any) -> None:
        self.set(key, value)

    def get_or_set(
        self, key: Hashable, make: Callable[[], Any], ttl: float | None = None
    ) -> Any:
        """The value; made and kept if it isn't there. ``make`` runs outside the lock."""
        missing = object()
        value = self.get(key, missing)
        if value is missing:
            value = make()
            self.set(key, value, ttl)
        return value

    def pop(self, key: Hashable, default: Any = None) -> Any:
        """Take an entry out."""
        with self._lock:
            entry = self._live(key)
            if entry is None:
                return default
            del self._entries[key]
            return entry.value

    def clear(self) -> None:
        """Forget everything, counters included."""
        with self._lock:
            self._entries.clear()
            self._reset_counts()

    def stats(self) -> CacheStats:
        """The counters."""
        with self._lock:
            return CacheStats(self._hits, self._misses, self._evictions, self._expirations)

    # -- within the lock -------------------------------------------------------------------------

    def _is_expired(self, entry: _Entry, now: float) -> bool:
        return entry.expires is not None and now >= entry.expires

    def _live(self, key: Hashable) -> _Entry | None:
        entry = self._entries.get(key)
        if entry is not None and self._is_expired(entry, self._timer()):
            del self._entries[key]
            self._expirations += 1
            return None
        return entry

    def _drop_expired(self) -> None:
        now = self._timer()
        old = [key for key, entry in self._entries.items() if self._is_expired(entry, now)]
        for key in old:
            del self._entries[key]
        self._expirations += len(old)

    def _make_room(self) -> None:
        """Drop what is too old and, if that isn't enough, what was used longest ago."""
        if len(self._entries) < self.maxsize:
            return
        self._drop_expired()
        while len(self._entries) >= self.maxsize:
            self._entries.popitem(last=False)
            self._evictions += 1
