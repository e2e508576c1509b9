"""Building an entry of the cache once, however many tasks, threads and processes ask for it."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from repodrome.tasks.store import Lock, Store, remove_tree


async def built(
    store: Store, kind: str, key: str, build: Callable[[Path], Awaitable[None]]
) -> Path:
    """The entry of the cache, built if it isn't there; nothing is left of a failed build.

    Args:
        build: makes the directory ``layer`` in the directory that it is given.
    """
    found = store.get(kind, key)
    if found is not None:
        return found
    async with once(store, kind, key):
        found = store.get(kind, key)
        if found is not None:
            return found
        staged = await asyncio.to_thread(store.new_staging, kind)
        try:
            await build(staged)
            return await asyncio.to_thread(store.publish, staged / "layer", kind, key)
        finally:
            await asyncio.to_thread(remove_tree, staged)


@asynccontextmanager
async def once(store: Store, kind: str, key: str) -> AsyncIterator[None]:
    """Alone among all tasks, threads and processes that build this; look again in it.

    For what lies elsewhere than in the cache (an image in a daemon): then nothing but the lock is
    the cache's.
    """
    async with turnstile(f"{store.root} {kind} {key}"):
        lock = await _acquire(store, kind, key)
        try:
            yield
        finally:
            lock.release()


async def _acquire(store: Store, kind: str, key: str) -> Lock:
    """The lock against other processes; given back if we are cancelled while waiting for it."""
    future = asyncio.get_running_loop().run_in_executor(None, store.acquire, kind, key)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        future.add_done_callback(_release)
        raise


def _release(future: asyncio.Future[Lock]) -> None:
    if not future.cancelled() and future.exception() is None:
        future.result().release()


_turnstiles: weakref.WeakKeyDictionary[
    asyncio.AbstractEventLoop, weakref.WeakValueDictionary[str, asyncio.Lock]
] = weakref.WeakKeyDictionary()


def turnstile(key: str) -> asyncio.Lock:
    """The lock of a key on this event loop (asyncio's locks belong to one), while it is in use."""
    locks = _turnstiles.setdefault(asyncio.get_running_loop(), weakref.WeakValueDictionary())
    lock = locks.get(key)
    if lock is None:
        lock = locks[key] = asyncio.Lock()
    return lock
