"""Python source read in several threads."""

from __future__ import annotations

import ast
import gc
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from repodrome.tasks.python_source import literal, parse


class _Rubbish:
    """What the collector ends with Python of its own, in the middle of whatever is going on."""

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        for _ in range(50):
            pass


@pytest.fixture
def busy_collector():  # type: ignore[no-untyped-def]
    before = gc.get_threshold()
    gc.set_threshold(200, 2, 2)
    yield
    gc.set_threshold(*before)


@pytest.mark.usefixtures("busy_collector")
def test_threads_that_know_nothing_of_ours_do_no_harm() -> None:
    source = Path(ast.__file__).read_bytes()
    over = threading.Event()

    def others() -> None:
        while not over.is_set():
            [_Rubbish() for _ in range(50)]
            with suppress(SystemError):
                ast.parse(source)

    threads = [threading.Thread(target=others) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(8):
            [_Rubbish() for _ in range(50)]
            assert isinstance(parse(source), ast.Module)
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_a_literal_and_what_is_none() -> None:
    assert literal(" 'a b' ") == "a b"
    for text in ("", "f()", "1; 2", "x = 1"):
        with pytest.raises(ValueError):
            literal(text)


@pytest.mark.usefixtures("busy_collector")
def test_threads_do_not_disturb_each_other() -> None:
    source = Path(ast.__file__).read_bytes()
    failures: list[BaseException] = []

    def many() -> None:
        for _ in range(8):
            [_Rubbish() for _ in range(50)]
            try:
                parse(source)
            except SystemError as error:
                failures.append(error)

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_what_is_no_python_is_said() -> None:
    with pytest.raises(SyntaxError):
        parse("def")
