"""What a command's output means: one small parser a format.

A parser is any callable with a ``name``; third parties add theirs through the entry-point group
``repodrome.parser``. Parsers read hostile bytes on the host: they must be bounded and safe.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from repodrome.envs.grading.verdict import TestStatus, worst
from repodrome.plugins import instance_of, load_installed

GROUP = "repodrome.parser"
MAX_REPORT = 32 << 20
_MAX_TESTS = 200_000


@dataclass(frozen=True, slots=True)
class CommandOutput:
    """What the verifier's command left.

    Attributes:
        exit_code: status by the host's own wait; None after a timeout.
        stdout: at most the byte cap.
        stderr: likewise.
        report: the report file's bytes, None where there is none.
    """

    exit_code: int | None
    stdout: bytes = b""
    stderr: bytes = b""
    report: bytes | None = None


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a parser made of it.

    Attributes:
        statuses: test id → outcome, the worst where told twice; empty where the format has none.
        score: a number in [0, 1]; used where the task names no tests.
        problem: why the output is not to be believed (incomplete, malformed), or ``""``.
    """

    statuses: Mapping[str, TestStatus] = field(default_factory=dict)
    score: float = 0.0
    problem: str = ""


@runtime_checkable
class Parser(Protocol):
    """Reads a verifier command's output."""

    name: str

    def __call__(self, output: CommandOutput) -> Parsed:
        """Never raises on bad input: that is a ``problem``."""


def _tally(statuses: Mapping[str, TestStatus], exit_code: int | None) -> float:
    every = bool(statuses) and all(s is TestStatus.PASSED for s in statuses.values())
    return 1.0 if every and exit_code == 0 else 0.0


class ExitCode:
    """Passed exactly when the command ends with status 0."""

    name = "exit-code"

    def __call__(self, output: CommandOutput) -> Parsed:
        return Parsed(score=1.0 if output.exit_code == 0 else 0.0)


class JUnitXml:
    """A JUnit XML report; ids are ``classname::name``, or ``name`` alone."""

    name = "junit-xml"

    def __call__(self, output: CommandOutput) -> Parsed:
        from xml.parsers import expat

        if output.report is None:
            return Parsed(problem="the report was not written")
        if len(output.report) > MAX_REPORT:
            return Parsed(problem=f"the report is larger than {MAX_REPORT} bytes")
        statuses: dict[str, TestStatus] = {}
        current = ""
        problem = ""
        found = {"failure": TestStatus.FAILED, "error": TestStatus.ERROR}

        def start(tag: str, attributes: dict[str, str]) -> None:
            nonlocal current
            if tag == "testcase":
                group, name = attributes.get("classname", ""), attributes.get("name", "")
                current = f"{group}::{name}" if group else name
                if len(statuses) < _MAX_TESTS:
                    known = statuses.get(current, TestStatus.PASSED)
                    statuses[current] = worst(known, TestStatus.PASSED)
            elif current in statuses and (tag in found or tag == "skipped"):
                statuses[current] = worst(statuses[current], found.get(tag, TestStatus.SKIPPED))

        def end(tag: str) -> None:
            nonlocal current
            if tag == "testcase":
                current = ""

        def refuse(*_: object) -> None:
            # Entities are how a small document becomes a huge one, or reads other files.
            nonlocal problem
            problem = "the report has a document type or entities, which are refused"
            parser.StartElementHandler = None

        parser = expat.ParserCreate()
        parser.StartElementHandler = start
        parser.EndElementHandler = end
        parser.StartDoctypeDeclHandler = refuse
        parser.EntityDeclHandler = refuse
        try:
            parser.Parse(output.report, True)
        except expat.ExpatError as error:
            problem = problem or f"the report is not well-formed XML: {error}"
        if problem:
            return Parsed(problem=problem)
        return Parsed(statuses, _tally(statuses, output.exit_code))


class Tap:
    """Test Anything Protocol on stdout; ids are the descriptions, or the numbers where none."""

    name = "tap"

    _LINE = re.compile(r"(not )?ok\b[ \t]*(\d+)?[ \t]*(?:- )?([^#]*)(?:#[ \t]*(\w+).*)?$")
    _PLAN = re.compile(r"1\.\.(\d+)")

    def __call__(self, output: CommandOutput) -> Parsed:
        statuses: dict[str, TestStatus] = {}
        planned: int | None = None
        count = 0
        for raw in output.stdout[:MAX_REPORT].split(b"\n"):
            line = raw[:4096].decode("utf-8", "replace").rstrip("\r")
            if line.startswith("Bail out!"):
                return Parsed(statuses, problem="the run bailed out")
            if plan := self._PLAN.match(line):
                if planned is not None:
                    return Parsed(problem="the run has two plans")
                planned = int(plan[1][:9])
            elif (test := self._LINE.match(line)) and count < _MAX_TESTS:
                count += 1
                name = test[3].strip() or test[2] or str(count)
                word = (test[4] or "").upper()
                status = TestStatus.FAILED if test[1] else TestStatus.PASSED
                if word.startswith("SKIP"):
                    status = TestStatus.SKIPPED
                elif word == "TODO":
                    status = TestStatus.XFAILED if test[1] else TestStatus.XPASSED
                statuses[name] = worst(statuses.get(name, status), status)
        if planned is None:
            return Parsed(problem="no plan (1..N) was printed")
        if planned != count:
            return Parsed(problem=f"{planned} tests were planned, {count} reported")
        return Parsed(statuses, _tally(statuses, output.exit_code))


_BUILTIN: dict[str, type[ExitCode | JUnitXml | Tap]] = {
    p.name: p for p in (ExitCode, JUnitXml, Tap)
}


def make_parser(name: str) -> Parser:
    """The parser of that name.

    Raises:
        UnknownNameError: with the nearest names.
        UsageError: a third party's entry point does not give a parser.
    """
    if name in _BUILTIN:
        return _BUILTIN[name]()
    found = load_installed("parser", name, GROUP, _BUILTIN)
    parser: Parser = instance_of(Parser, found, name, GROUP)
    return parser
