"""Every built-in parser passes the suite that any parser must pass."""

from __future__ import annotations

import pytest

from repodrome.envs.grading.parsers import _BUILTIN, CommandOutput, make_parser
from tests.conformance.parser_suite import CHECKS, Check

_XML = b"<testsuite><testcase classname='a' name='x'/><testcase name='y'>%s</testcase></testsuite>"
CASES = {
    "exit-code": (CommandOutput(0, stdout=b"fine\n"), CommandOutput(1, stdout=b"not fine\n")),
    "junit-xml": (
        CommandOutput(0, report=_XML % b""),
        CommandOutput(0, report=_XML % b"<failure message='no'/>"),
    ),
    "tap": (
        CommandOutput(0, stdout=b"1..2\nok 1 - x\nok 2 - y\n"),
        CommandOutput(0, stdout=b"1..2\nok 1 - x\nnot ok 2 - y\n"),
    ),
}


def test_every_builtin_parser_is_here() -> None:
    assert set(CASES) == set(_BUILTIN)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", CASES)
def test_conforms(name: str, check: Check) -> None:
    check(make_parser(name), *CASES[name])
