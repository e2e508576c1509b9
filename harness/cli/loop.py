"""Running a command's coroutine so that Ctrl-C ends it cleanly, and soon."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

PATIENCE_SECONDS = 0.9
"""How long after a signal the clean end may take. Past it the process ends all the same: steps are
on disk already, sandboxes die with their owner, and the next start reaps what they left."""


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run ``main()`` on a new event loop; SIGINT and SIGTERM cancel it.

    Raises:
        KeyboardInterrupt: it was cancelled by a signal and has ended.
    """
    import asyncio

    timers: list[threading.Timer] = []

    async def guarded() -> T:
        task = asyncio.ensure_future(main())

        def cancel() -> None:
            if not timers:
                timers.append(_end_in(PATIENCE_SECONDS))
            task.cancel()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, cancel)
        return await task

    try:
        return asyncio.run(guarded())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        for timer in timers:
            timer.cancel()


def _end_in(seconds: float) -> threading.Timer:
    timer = threading.Timer(seconds, os._exit, (130,))
    timer.daemon = True
    timer.start()
    return timer
