"""What any Parser of a verifier's output must do, ours or a third party's.

Use it from a test::

    @pytest.mark.parametrize("check", CHECKS)
    def test_my_parser(check):
        check(MyParser(), CommandOutput(0, stdout=b"..."), CommandOutput(1, stdout=b"..."))

The two outputs are of a run in which everything passed, and of one in which something failed.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from repodrome.envs.grading.parsers import CommandOutput, Parsed, Parser
from repodrome.envs.grading.verdict import TestStatus

Check = Callable[[Parser, CommandOutput, CommandOutput], None]

_BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY %c "%b">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
    + b"]><testsuite><testcase name='&j;'/></testsuite>"
)
HOSTILE = (
    b"",
    b"\x00" * 1000,
    b"\xff\xfe\x00\x80" * 1000,
    b"ok " * 300_000,
    b"ok 1 - x\n" * 300_000,
    b"1.." + b"9" * 5000 + b"\nok 1\n",
    b"(" * 100_000,
    b"<" * 100_000,
    b"<testsuite>" * 50_000,
    b"<a " + b"b='c' " * 100_000 + b"/>",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    _BOMB,
    b"\x1b[2J\r\r\n\x0b\x0c\x1c\x85 # SKIP # TODO\n" * 1000,
)
"""Bytes that a verifier run by the agent's code may leave anywhere."""


def _cut(data: bytes) -> Iterator[bytes]:
    """The data with parts missing or changed."""
    draw = random.Random(0)
    for _ in range(30):
        if data:
            at = draw.randrange(len(data))
            yield data[:at]
            yield data[:at] + bytes([draw.randrange(256)]) + data[at + 1 :]


def _odd(good: CommandOutput) -> Iterator[CommandOutput]:
    for data in HOSTILE:
        yield CommandOutput(0, stdout=data, stderr=data, report=data)
        yield replace(good, stderr=data)
    for data in _cut(good.stdout):
        yield replace(good, stdout=data)
    for data in _cut(good.report or b""):
        yield replace(good, report=data)
    yield replace(good, report=None)


def _passes(parsed: Parsed) -> bool:
    """As grading judges where the task names no tests."""
    return not parsed.problem and parsed.score >= 1.0


def is_a_parser(parser: Parser, good: CommandOutput, bad: CommandOutput) -> None:
    assert isinstance(parser, Parser)
    assert isinstance(parser.name, str) and parser.name


def tells_good_from_bad(parser: Parser, good: CommandOutput, bad: CommandOutput) -> None:
    assert _passes(parser(good)), parser(good).problem
    assert not _passes(parser(bad))


def believes_the_exit_status(parser: Parser, good: CommandOutput, bad: CommandOutput) -> None:
    """What is printed is the agent's to forge; the status, and a timeout's None, are not."""
    for code in (1, 2, 137, None):
        assert not _passes(parser(replace(good, exit_code=code)))


def is_pure(parser: Parser, good: CommandOutput, bad: CommandOutput) -> None:
    first = [parser(output) for output in (good, bad, good)]
    assert first == [parser(output) for output in (good, bad, good)]
    assert first[0] == first[2]


def survives_hostile_bytes(parser: Parser, good: CommandOutput, bad: CommandOutput) -> None:
    for output in _odd(good):
        began = time.monotonic()
        parsed = parser(output)
        assert time.monotonic() - began < 5
        assert isinstance(parsed, Parsed)
        assert math.isfinite(parsed.score) and 0 <= parsed.score <= 1
        assert len(parsed.problem) < 2000
        parsed.problem.encode()
        assert len(parsed.statuses) <= 200_000
        for name, status in parsed.statuses.items():
            name.encode()
            assert isinstance(status, TestStatus)


CHECKS: tuple[Check, ...] = (
    is_a_parser,
    tells_good_from_bad,
    believes_the_exit_status,
    is_pure,
    survives_hostile_bytes,
)
