"""Parsers of hostile output."""

from __future__ import annotations

import pytest

from repodrome.envs.grading.parsers import CommandOutput, make_parser
from repodrome.envs.grading.verdict import TestStatus
from repodrome.errors import UnknownNameError

P, F, S = TestStatus.PASSED, TestStatus.FAILED, TestStatus.SKIPPED


def test_exit_code() -> None:
    parse = make_parser("exit-code")
    assert [parse(CommandOutput(c)).score for c in (0, 1, None)] == [1.0, 0.0, 0.0]


def test_junit() -> None:
    parse = make_parser("junit-xml")
    xml = b"""<testsuites><testsuite><properties><property/></properties>
    <testcase classname="a.B" name="one"/><testcase name="two"><failure/></testcase>
    <testcase name="three"><skipped/></testcase><testcase name="four"><error/></testcase>
    <testcase name="two"/></testsuite></testsuites>"""
    parsed = parse(CommandOutput(1, report=xml))
    assert parsed.statuses == {"a.B::one": P, "two": F, "three": S, "four": TestStatus.ERROR}
    assert parsed.score == 0.0
    assert parse(CommandOutput(0, report=b'<testcase name="a"/>')).score == 1.0
    assert parse(CommandOutput(1, report=b'<testcase name="a"/>')).score == 0.0


@pytest.mark.parametrize(
    "report",
    [
        None,
        b"",
        b"<testsuite>",
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><testcase name="a"/>',
        b"\0\xff",
    ],
)
def test_junit_that_is_not_believed(report: bytes | None) -> None:
    parsed = make_parser("junit-xml")(CommandOutput(0, report=report))
    assert parsed.problem
    assert not parsed.statuses
    assert parsed.score == 0.0


def test_tap() -> None:
    parse = make_parser("tap")
    text = (
        b"TAP version 14\n1..5\nok 1 - a b\nnot ok 2 - c\nok 3 # SKIP no\nnot ok 4 d # TODO x\nok\n"
    )
    assert parse(CommandOutput(1, text)).statuses == {
        "a b": P,
        "c": F,
        "3": S,
        "d": TestStatus.XFAILED,
        "5": P,
    }
    assert parse(CommandOutput(0, b"ok 1 - a\n1..1\n")).score == 1.0


@pytest.mark.parametrize(
    "text",
    [b"", b"ok 1 - a\n", b"1..2\nok 1 - a\n", b"1..1\nok 1\nBail out! x\n", b"1..1\n1..1\nok"],
)
def test_tap_that_is_not_believed(text: bytes) -> None:
    parsed = make_parser("tap")(CommandOutput(0, text))
    assert parsed.problem
    assert parsed.score == 0.0


def test_unknown_parser() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'junit-xml'"):
        make_parser("junit")
