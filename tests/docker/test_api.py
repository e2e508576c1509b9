"""The conformance suite over TCP: every test of it runs here too, on a daemon of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from repodrome.envs.sandbox.docker.backend import DockerBackend
from tests.conformance.test_sandbox import *  # noqa: F403
from tests.docker.daemon import Daemon

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
async def backend(own_daemon: Daemon) -> AsyncIterator[DockerBackend]:
    made = DockerBackend(hosts=[own_daemon.tcp_url])
    yield made
    await made.close()
