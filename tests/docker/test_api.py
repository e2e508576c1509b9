"""The conformance suite over TCP: every test of it runs here too, on a daemon of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from repodrome.envs.sandbox.docker.engine import Address, Engine, connect
from tests.conformance.test_sandbox import *  # noqa: F403
from tests.docker.api_backend import ApiBackend
from tests.docker.daemon import Daemon

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture(scope="session")
def engine(own_daemon: Daemon) -> Iterator[Engine]:
    engine = Engine(Address(own_daemon.tcp_url), connect)
    yield engine
    engine.close()


@pytest.fixture
def backend(engine: Engine) -> ApiBackend:
    return ApiBackend(engine)
