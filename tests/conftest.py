"""What all tests share: the event loop, and which sandbox backends the suites run on."""

from __future__ import annotations

import os

import pytest

WITHOUT_DOCKER = bool(os.environ.get("REPODROME_NO_DOCKER"))
"""Asked for by who has no daemon; never set in CI."""
BACKENDS = ("bubblewrap",) if WITHOUT_DOCKER else ("bubblewrap", "docker")
collect_ignore = ["docker", "tasks_content/test_backends_agree.py"] if WITHOUT_DOCKER else []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--sandbox-backend",
        action="append",
        default=[],
        help="run the sandbox conformance suite on this backend (repeatable)",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "sandbox_backend" in metafunc.fixturenames:
        names = metafunc.config.getoption("--sandbox-backend") or BACKENDS
        metafunc.parametrize("sandbox_backend", [_marked(name, metafunc.module) for name in names])


def _marked(name: str, module: object) -> object:
    """A module that is run twice in full may have the second time among the slow ones."""
    slow = name == "docker" and getattr(module, "SLOW_IN_DOCKER", False)
    return pytest.param(name, marks=pytest.mark.slow) if slow else name


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
