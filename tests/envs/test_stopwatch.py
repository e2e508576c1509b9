"""A clock that stands still while the machine is busy for itself."""

from __future__ import annotations

import asyncio
import time

import pytest

from repodrome.envs.gate import Gate
from repodrome.envs.stopwatch import Stopwatch


def test_time_in_which_it_is_stopped_does_not_count() -> None:
    watch = Stopwatch()
    began, really = watch.now(), time.monotonic()
    with watch.stopped(), watch.stopped():
        time.sleep(0.2)
        assert watch.now() == watch.now()
    assert watch.now() - began <= time.monotonic() - really - 0.2
    assert watch.now() > began


def test_a_paused_gate_does_not_cut_off_its_holder() -> None:
    gate = Gate()

    async def scenario() -> None:
        async with gate.hold("step", 0.1):
            with gate.paused(), gate.paused():
                await asyncio.sleep(0.3)
        reached = False
        async with gate.hold("step", 0.1, quiet=True):
            with gate.paused():
                pass
            await asyncio.sleep(60)
            reached = True
        assert not reached

    asyncio.run(scenario())


@pytest.mark.parametrize("within", [True, False])
def test_shutting_cuts_off_a_holder_that_is_paused(within: bool) -> None:
    gate = Gate()

    async def scenario() -> None:
        asyncio.get_running_loop().call_later(0.05, gate.shut)
        async with gate.hold("step", 60, quiet=True):
            with gate.paused():
                await asyncio.sleep(60 if within else 0.2)
            await asyncio.sleep(60)

    asyncio.run(asyncio.wait_for(scenario(), 30))
