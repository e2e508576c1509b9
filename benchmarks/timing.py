"""What every benchmark shares: taking samples, one row a figure, facts about the machine."""

from __future__ import annotations

import asyncio
import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version

PAUSE = 0.05
"""Seconds between paced samples, as a trainer that waits for its model would leave."""


SHARE = "of 1"
"""Unit of what is better the nearer it is to 1."""
MORE_IS_BETTER = frozenset({"/s", SHARE})


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        figure: what was measured, and whether paced or back to back.
        values: the samples, in ``unit``.
        unit: ``"ms"``, ``"MB"``, ``"/s"``, :data:`SHARE` or ``""`` for a count.
        goal: for the median; None where there is none.
        goal_p95: for the 95th percentile.
        floor: a raw floor of the machine, not of ours.
    """

    figure: str
    values: tuple[float, ...]
    unit: str = "ms"
    goal: float | None = None
    goal_p95: float | None = None
    floor: bool = False

    @property
    def p50(self) -> float:
        """The median."""
        return statistics.median(self.values)

    @property
    def p95(self) -> float:
        """The 95th percentile, by nearest rank."""
        return sorted(self.values)[max(0, math.ceil(0.95 * len(self.values)) - 1)]

    @property
    def met(self) -> bool | None:
        """Whether the goals hold; None where there is none."""
        if self.goal is None:
            return None
        if self.unit in MORE_IS_BETTER:
            return self.p50 >= self.goal
        late = self.goal_p95 is not None and self.p95 > self.goal_p95
        return self.p50 <= self.goal and not late

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Row:
        """The opposite of :meth:`to_json`."""
        fields = json.loads(line)
        return cls(**{**fields, "values": tuple(fields["values"])})


def in_ms(
    figure: str,
    seconds: Sequence[float],
    goal: float | None = None,
    goal_p95: float | None = None,
    *,
    floor: bool = False,
) -> Row:
    """A row in milliseconds from samples in seconds; goals are in milliseconds."""
    values = tuple(value * 1e3 for value in seconds)
    return Row(figure, values, goal=goal, goal_p95=goal_p95, floor=floor)


def sample(
    call: Callable[[], object], n: int, *, pause: float = 0.0, warm_up: int = 2
) -> list[float]:
    """Seconds that each of ``n`` calls took, with ``pause`` seconds before each."""
    taken = []
    for index in range(warm_up + n):
        if pause:
            time.sleep(pause)
        began = time.perf_counter()
        call()
        seconds = time.perf_counter() - began
        if index >= warm_up:
            taken.append(seconds)
    return taken


async def sample_async(
    call: Callable[[], Awaitable[object]], n: int, *, pause: float = 0.0, warm_up: int = 2
) -> list[float]:
    """Like :func:`sample`, of something awaited."""
    taken = []
    for index in range(warm_up + n):
        if pause:
            await asyncio.sleep(pause)
        began = time.perf_counter()
        await call()
        seconds = time.perf_counter() - began
        if index >= warm_up:
            taken.append(seconds)
    return taken


def paces(quick: bool) -> Iterator[tuple[str, float, int]]:
    """``(words, pause, n)`` of the two ways in which most figures are taken."""
    yield "paced", PAUSE, 30 if quick else 200
    yield "back to back", 0.0, 30 if quick else 200


def machine() -> dict[str, str]:
    """What the figures depend on besides ours."""
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    try:
        said = subprocess.run(["bwrap", "--version"], capture_output=True, text=True, check=False)
        bwrap = said.stdout.strip()
    except FileNotFoundError:
        bwrap = "not installed"
    packages = ("repodrome", "gymnasium", "anyio", "pydantic", "numpy")
    return {
        "kernel": platform.release(),
        "cores": str(len(os.sched_getaffinity(0))),
        "cpu": _cpu(),
        "load average": load,
        "python": platform.python_version(),
        "bwrap": bwrap,
        "user": "root" if os.getuid() == 0 else "not root",
        "packages": ", ".join(f"{name} {_version(name)}" for name in packages),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "?"


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            found = re.search(r"^model name\s*: (.*)$", file.read(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.machine()


child = partial(subprocess.Popen, stdout=subprocess.PIPE, text=True)
"""A Python of its own: ``child([sys.executable, …])``."""

PYTHON = sys.executable
