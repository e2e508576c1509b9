"""Fixtures of the tests that need Docker: a daemon of their own, with the base image."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.docker.daemon import Daemon, running


@pytest.fixture(scope="session")
def own_daemon() -> Iterator[Daemon]:
    """One daemon for the whole session, on a unix socket and a TCP port; leave it as it was."""
    with running(tcp=True) as daemon:
        yield daemon


@pytest.fixture
def breakable() -> Iterator[Daemon]:
    """A daemon that a test may end."""
    with running() as daemon:
        yield daemon
