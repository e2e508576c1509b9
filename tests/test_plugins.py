"""Parts that installed packages add: an object, or what makes one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from repodrome.envs.grading.parsers import CommandOutput, Parsed, make_parser
from repodrome.errors import UsageError
from repodrome.tools.base import Tool
from repodrome.tools.finish import Finish
from repodrome.tools.registry import get_tool, tool_names


class Always:
    """A third party's parser: callable, as all of them are."""

    name = "always"

    def __call__(self, output: CommandOutput) -> Parsed:
        return Parsed(score=1.0)


ALWAYS = Always()
FINISH = Finish()
NUMBER = 3


def make_finish() -> Tool:
    return FINISH


@pytest.fixture(autouse=True)
def installed(tmp_path: Path) -> Iterator[None]:
    """A package that registers the parts of this module."""
    info = tmp_path / "parts-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: parts\nVersion: 1\n")
    here = "tests.test_plugins"
    (info / "entry_points.txt").write_text(
        f"[repodrome.parser]\nclass = {here}:Always\nobject = {here}:ALWAYS\nbad = {here}:NUMBER\n"
        f"[repodrome.tool]\nobject = {here}:FINISH\nfunction = {here}:make_finish\n"
        f"bad = {here}:NUMBER\n"
    )
    sys.path.insert(0, str(tmp_path))
    yield
    sys.path.remove(str(tmp_path))


def test_an_object_and_what_makes_one() -> None:
    assert get_tool("object") is FINISH is get_tool("function")
    assert {"object", "function"} <= set(tool_names())
    for name in ("class", "object"):
        assert make_parser(name)(CommandOutput(1)).score == 1.0


def test_anything_else_is_named() -> None:
    with pytest.raises(UsageError, match=r"'bad' of group 'repodrome.tool' gives int"):
        get_tool("bad")
    with pytest.raises(UsageError, match="int, which is no Parser"):
        make_parser("bad")
