"""One background event loop a process, for the synchronous faces (Gymnasium, vector).

Started when first needed, in one long-lived daemon thread: sandboxes die with the thread that
created them, so it must be no thread of the user's. Closed at exit; a forked child gets a new one.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Closable(Protocol):
    """What the runtime closes before it ends."""

    def close(self) -> None: ...


class Runtime:
    """An event loop in a thread of its own, and what has to be closed before it ends.

    Get the process's one with :func:`runtime`.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        # A plain thread rather than anyio's portal: that is a generator, and in a forked child,
        # where its thread doesn't exist, its own clean-up would wait for that thread for ever.
        started: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(
            target=_serve, args=(started,), name="repodrome-loop", daemon=True
        )
        self._thread.start()
        self.loop = started.result()
        self._users: weakref.WeakSet[Any] = weakref.WeakSet()
        self._closers: list[Callable[[], Awaitable[None]]] = []
        # The loop itself holds its tasks weakly.
        self._started: set[asyncio.Task[None]] = set()
        self.closed = False

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine on the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait for it.

        Ctrl-C cancels it and waits, 5 s at most, for its end: what it held is in a known state then
        and can be used again.

        Raises:
            RuntimeError: called from the loop's own thread, where it would wait for itself.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError(
                "called from repodrome's own event loop; await the Episode there instead"
            )
        begun: list[asyncio.Task[Any]] = []
        future = self.submit(_noted(coroutine, begun))
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            # The future itself counts as done from here on; its task goes on until it has ended.
            with contextlib.suppress(TimeoutError):
                self.submit(_ended(begun, coroutine)).result(timeout=5.0)
            raise

    def finish(self, closer: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Await ``closer()`` on the loop, from wherever we are.

        From the loop's own thread it is only started. In a forked child, or once the loop has
        ended, nothing is done: what it closes is the parent's, or gone.
        """
        if not self._serves():
            return
        if threading.current_thread() is self._thread:
            self._start(closer)
        else:
            self.run(closer())

    def finish_later(self, closer: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """As :meth:`finish`, without waiting: for garbage collections, which may come anywhere."""
        if self._serves():
            self.loop.call_soon_threadsafe(self._start, closer)

    def _serves(self) -> bool:
        return self.pid == os.getpid() and self.loop.is_running()

    def _start(self, closer: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._started.add(task := self.loop.create_task(closer()))
        task.add_done_callback(self._started.discard)

    def track(self, user: Closable, closer: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """See to it that ``user`` gets closed.

        If it is still alive when the loop ends, its ``close()`` is called then. If it is dropped
        without a close, ``closer()``, which must not hold it, is awaited: an environment that
        somebody forgot would else keep its sandboxes until the process ends.
        """
        if user not in self._users:
            self._users.add(user)
            weakref.finalize(user, self.finish_later, closer).atexit = False

    def on_close(self, closer: Callable[[], Awaitable[None]]) -> None:
        """Await ``closer()`` when the loop ends, once."""
        if closer not in self._closers:
            self._closers.append(closer)

    def close(self) -> None:
        """Close what is tracked, then the loop. Idempotent."""
        if self.closed or self.pid != os.getpid():
            return
        self.closed = True
        for user in list(self._users):
            user.close()
        for closer in self._closers:
            self.run(_awaited(closer))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()


def _serve(started: Future[asyncio.AbstractEventLoop]) -> None:
    """The loop's thread, until somebody stops the loop."""
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        asyncio.set_event_loop(loop)
        started.set_result(loop)
        loop.run_forever()


async def _noted(coroutine: Coroutine[Any, Any, T], begun: list[asyncio.Task[Any]]) -> T:
    task = asyncio.current_task()
    assert task is not None
    begun.append(task)
    return await coroutine


async def _ended(begun: list[asyncio.Task[Any]], coroutine: Coroutine[Any, Any, Any]) -> None:
    """Wait for a cancelled task's end; one that was cancelled before it began needs no waiting."""
    if begun:
        await asyncio.wait(begun)
    else:
        coroutine.close()


async def _awaited(closer: Callable[[], Awaitable[None]]) -> None:
    await closer()


_lock = threading.Lock()
_current: Runtime | None = None
_left_behind: list[Runtime] = []
"""Of the process we were forked from: nothing of theirs may be finalised here."""
_hooked = False


def runtime() -> Runtime:
    """The process's runtime, started if it isn't yet."""
    global _current, _hooked
    # Read without the lock: the common case, and an assignment is atomic.
    found = _current
    if found is not None and not found.closed:
        return found
    with _lock:
        if _current is None or _current.closed:
            if not _hooked:
                os.register_at_fork(after_in_child=_forget)
                atexit.register(_close_current)
                _hooked = True
            _current = Runtime()
        return _current


def _close_current() -> None:
    if _current is not None:
        _current.close()


def _forget() -> None:
    """In a forked child: the thread that ran the loop doesn't exist there."""
    global _current, _lock
    if _current is not None:
        _left_behind.append(_current)
    _current = None
    _lock = threading.Lock()
