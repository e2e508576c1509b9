"""The running containers that the spawner knows, and their children that wait for an order.

Standard library only.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import Any

from repodrome.envs.sandbox.direct.blank import Blank
from repodrome.envs.sandbox.direct.container import Home, Resident
from repodrome.envs.sandbox.direct.syscalls import kill

BLANKS = 1
"""Children kept ready for each container."""


class Homes:
    """All of them.

    Args:
        number: gives the next child its number.

    Attributes:
        back: the pid namespace in which other children of the spawner live.
    """

    def __init__(self, config: dict[str, Any], number: Callable[[], int]) -> None:
        self.back = -1
        self._config, self._number = config, number
        self._homes: dict[str, Home] = {}

    @property
    def names(self) -> list[str]:
        """The containers' ids."""
        return list(self._homes)

    @property
    def waiting(self) -> list[int]:
        """Pids of all children that wait."""
        return [blank.pid for home in self._homes.values() for blank in home.blanks]

    def adopt(self, message: dict[str, Any], fds: dict[str, int]) -> Home:
        """Learn of a container, whose processes later orders will be; see :class:`Home`."""
        home = self._homes[message["id"]] = Home(message, fds)
        self.settle(home)
        return home

    def forget(self, name: str) -> list[str]:
        """Let go of a container, if it is known; returns its children's names."""
        home = self._homes.pop(name, None)
        if home is None:
            return []
        for blank in home.blanks:
            kill(blank.pid)
            blank.sock.close()
        home.close()
        return [blank.name for blank in home.blanks]

    def lacking(self) -> Home | None:
        """A container with too few children ready."""
        for home in self._homes.values():
            if not home.broken and len(home.blanks) < BLANKS:
                return home
        return None

    def settle(self, home: Home) -> None:
        """Give it one more child."""
        try:
            home.blanks.append(Resident(self._config, self._number(), home, self.back))
        except OSError:  # its pid namespace has ended, or it has no processes left
            home.deaths += 1

    def take(self, name: str) -> Blank:
        """A child to carry out an order.

        Raises:
            OSError: the container is not known, or has ended.
        """
        home = self._homes.get(name)
        if home is None:
            raise OSError(errno.ESRCH, "the container is gone")
        if not home.blanks:
            self.settle(home)
        if not home.blanks:
            raise OSError(errno.ESRCH, "the container has ended")
        home.deaths = 0
        return home.blanks.pop(0)

    def reaped(self, pid: int) -> str | None:
        """A child has ended before its order; returns its name, None: it was none of these."""
        for home in self._homes.values():
            for blank in home.blanks:
                if blank.pid == pid:
                    blank.sock.close()
                    home.blanks.remove(blank)
                    home.deaths += 1
                    time.sleep(0.01)  # one that can't start must not become a fork storm
                    return blank.name
        return None
