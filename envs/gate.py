"""One thing at a time on an episode's sandbox, and an end to it when the episode is closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from repodrome.errors import UsageError


class Gate:
    """Lets in one holder at a time, until it is shut."""

    def __init__(self) -> None:
        self._shut = False
        self._free = asyncio.Event()
        self._free.set()
        self._holder: asyncio.Timeout | None = None
        self._pauses = 0

    @property
    def is_shut(self) -> bool:
        """Nobody is let in any more."""
        return self._shut

    def check(self, what: str) -> None:
        """See whether a holder would be let in.

        Raises:
            UsageError: it is shut, or held.
        """
        if self._shut:
            raise UsageError(f"can't {what}: the episode is closed; start another one")
        if not self._free.is_set():
            raise UsageError(f"can't {what} while a step is running; await that first")

    @asynccontextmanager
    async def hold(
        self, what: str, seconds: float | None = None, *, quiet: bool = False
    ) -> AsyncIterator[None]:
        """Be alone, until the time is up or the gate is shut: then what the body awaits is cut off.

        Args:
            what: for the messages.
            seconds: the time; None: for ever.
            quiet: leave the block without an error when cut off.

        Raises:
            UsageError: it is shut, or held; or it was shut meanwhile.
        """
        self.check(what)
        scope = asyncio.timeout(seconds)
        self._free.clear()
        try:
            async with scope:
                self._holder = scope
                yield
        except TimeoutError:
            if not scope.expired():
                raise
            if not quiet:
                raise UsageError(f"can't {what}: the episode was closed meanwhile") from None
        finally:
            self._holder = None
            self._free.set()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The holder's time stands still meanwhile."""
        scope = self._holder
        when = None if scope is None or self._shut or self._pauses else scope.when()
        if scope is None or when is None:
            yield
            return
        loop = asyncio.get_running_loop()
        left = when - loop.time()
        self._pauses += 1
        scope.reschedule(None)
        try:
            yield
        finally:
            self._pauses -= 1
            if self._holder is scope and not self._shut:
                scope.reschedule(loop.time() + left)

    def shut(self) -> None:
        """Let nobody in any more and cut off the holder, without cancelling the task it runs in."""
        self._shut = True
        if self._holder is not None and not self._holder.expired():
            self._holder.reschedule(asyncio.get_running_loop().time())

    async def empty(self) -> None:
        """Wait until the holder has left."""
        await self._free.wait()
