"""terminal, finish, and how the toolbox is put together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import ClassVar

import pytest
from pydantic import Field

from repodrome.errors import SandboxError, UnknownNameError, UsageError
from repodrome.tools.base import Arguments, ToolContext, ToolOutput, ToolState
from repodrome.tools.terminal import Terminal
from repodrome.tools.toolbox import Toolbox
from repodrome.tools.workspace import CommandResult
from tests.fakes.local_workspace import LocalWorkspace
from tests.tools.conftest import Desk

pytestmark = pytest.mark.anyio


async def test_output_and_exit_code(desk: Desk) -> None:
    outcome = await desk.call("terminal", command="echo hi; echo oops >&2; exit 3")
    assert outcome.text == "hi\noops\n[exit code 3]"
    assert outcome.error_code == ""
    assert outcome.data["exit_code"] == 3
    assert await desk.ok("terminal", command="true") == "[no output]\n[exit code 0]"
    assert "ended by SIGKILL" in await desk.ok("terminal", command="kill -9 $$")
    await desk.fails("invalid_arguments", "terminal", command="  ")
    await desk.fails("invalid_arguments", "terminal", command="echo a\0b")
    await desk.fails("invalid_arguments", "terminal", command="x", session="../x")
    await desk.fails("invalid_arguments", "terminal", command="x", timeout=0)


async def test_escape_sequences_and_odd_bytes(desk: Desk) -> None:
    command = (
        r"printf '\033[1;31mred\033[0m \033]0;title\007x\n"
        r"10%%\r55%%\r100%%\r\n\377\000\010\302\233end\n'"
    )
    text = await desk.ok("terminal", command=command)
    assert text == "red x\n100%\n\ufffd\\x00\\x08\\x9bend\n[exit code 0]"


async def test_long_output_keeps_head_and_tail(desk: Desk) -> None:
    outcome = await desk.call("terminal", command="seq 1 2000000")
    assert outcome.truncated
    assert outcome.text.startswith("1\n2\n")
    assert outcome.text.endswith("1999999\n2000000\n[exit code 0]")
    assert len(outcome.text) < 31_000
    shown = sum(len(row) + 1 for row in outcome.text.split("\n") if row.isdigit())
    assert shown + outcome.data["dropped"] == 14_888_896
    assert "more of it is in .repodrome/terminal/1.txt …]" in outcome.text
    one_line = await desk.call(
        "terminal", command="head -c 10000000 /dev/zero | tr '\\0' x; printf '\\303\\251'"
    )
    assert one_line.data["dropped"] > 9_900_000
    assert "\u00e9\n[exit code 0]" in one_line.text


async def test_timeouts_lost_shells_and_memory_are_explained(desk: Desk) -> None:
    outcome = await desk.call("terminal", command="echo start; sleep 60", timeout=0.3)
    assert "start" in outcome.text
    assert "still running after 0.3 s" in outcome.text
    assert outcome.data["timed_out"]

    class Losing(LocalWorkspace):
        async def shell(self, command, **kwargs):  # type: ignore[no-untyped-def]
            return CommandResult(exit_code=None, stdout=b"", shell_lost=True, oom_killed=True)

    desk.workspace = Losing(desk.path)
    text = await desk.ok("terminal", command="exit")
    assert "gets a fresh one" in text
    assert "memory limit" in text


async def test_sessions_are_few(desk: Desk) -> None:
    desk.toolbox = Toolbox([Terminal(max_sessions=2)])
    await desk.ok("terminal", command="true", session="a")
    await desk.ok("terminal", command="true", session="b")
    await desk.fails("too_many_sessions", "terminal", command="true", session="c")
    await desk.ok("terminal", command="true", session="a")


async def test_finish(desk: Desk) -> None:
    await desk.ok("finish", message="did it")
    assert desk.state.finished == "did it"
    assert desk.state.copy() == desk.state


def test_choosing_and_configuring() -> None:
    assert Toolbox.build().names[0] == "read_file"
    assert Toolbox.build(["terminal", "finish"]).names == ("terminal", "finish")
    assert "terminal" not in Toolbox.build(exclude=["terminal"])
    box = Toolbox.build(
        ["grep", "read_file"],
        config={"grep": {"name": "search", "max_results": 5, "timeout": 3}, "terminal": {}},
    )
    assert box.names == ("search", "read_file")
    assert [schema["function"]["name"] for schema in box.schemas()] == ["search", "read_file"]
    assert box.is_read_only("search")
    assert not box.is_read_only("nope")
    box.schemas()[0]["function"]["name"] = "spoiled"
    assert box.schemas()[0]["function"]["name"] == "search"


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"include": ["gerp"]}, UnknownNameError, "did you mean 'grep'"),
        ({"exclude": ["gerp"]}, UnknownNameError, "did you mean 'grep'"),
        ({"config": {"gerp": {}}}, UnknownNameError, "did you mean 'grep'"),
        ({"config": {"grep": {"max_result": 1}}}, UnknownNameError, "did you mean 'max_results'"),
        ({"config": {"grep": {"max_results": "many"}}}, UsageError, "max_results"),
        ({"config": {"grep": {"name": "two words"}}}, UsageError, "not legal"),
        ({"config": {"grep": {"name": "glob"}}}, UsageError, "two tools"),
    ],
)
def test_wrong_choices_name_the_fix(arguments, kind, words) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(kind, match=words):
        Toolbox.build(**arguments)


class ShoutArguments(Arguments):
    word: str = Field(description="What to shout.")


@dataclass(frozen=True)
class Shout:
    """A third party's tool, badly behaved on demand."""

    name: str = "shout"
    description: str = "Shouts a word back, many times over."
    arguments: ClassVar[type[Arguments]] = ShoutArguments
    read_only: ClassVar[bool] = True

    async def run(self, arguments: ShoutArguments, context: ToolContext) -> ToolOutput:
        if arguments.word == "bug":
            raise KeyError("a bug")
        if arguments.word == "lost":
            raise SandboxError("gone")
        text = arguments.word.upper() * 1_000_000
        return ToolOutput(text, data={"paths": ["\udcff"], "nested": {"a": ("\x1b",)}})


async def test_third_party_tools_by_object(desk: Desk) -> None:
    desk.toolbox = Toolbox.build(["finish"], extra=[Shout()], config={"shout": {"name": "yell"}})
    assert desk.toolbox.names == ("finish", "yell")
    outcome = await desk.call("yell", word="\x1b[2Jhey")
    assert outcome.truncated
    assert outcome.tool == "shout"
    assert len(outcome.text.encode()) < 101_000
    assert "\x1b" not in outcome.text
    assert outcome.data == {"paths": ["\\xff"], "nested": {"a": ["\\x1b"]}}
    with pytest.raises(KeyError):
        await desk.call("yell", word="bug")
    with pytest.raises(SandboxError):
        await desk.call("yell", word="lost")


def test_a_parameter_that_is_not_flat_is_refused() -> None:
    class Nested(Arguments):
        value: int | None = Field(default=None, description="May be null.")

    class Bad(Shout):
        arguments = Nested

    with pytest.raises(UsageError, match="not flat"):
        Toolbox([Bad()])


async def test_agents_mistakes_are_observations(desk: Desk) -> None:
    text = await desk.fails("unknown_tool", "reed_file", path="x")
    assert "did you mean read_file or edit_file?" in text
    await desk.fails("unknown_tool", "\ud800" * 10_000)
    text = await desk.fails("invalid_arguments", "read_file", file_path="x")
    assert "path is missing" in text
    assert "file_path is not a parameter; did you mean path?" in text
    text = await desk.fails("invalid_arguments", "read_file", path="x", limit="5")
    assert 'limit must be an integer, not the string "5"; write it without quotes' in text
    text = await desk.fails("invalid_arguments", "read_file", path="x", limit="five")
    assert text.splitlines()[1] == '- limit must be an integer, not the string "five"'
    text = await desk.fails("invalid_arguments", "read_file", path="x", limit=0)
    assert "limit: input should be greater than or equal to 1; given the number 0" in text
    text = await desk.fails("invalid_arguments", "grep", pattern="x", output_mode="all")
    assert "'content', 'files' or 'count'" in text
    desk.put("x", "1\n2\n3\n")
    assert "1-2 of 3" in await desk.ok("read_file", path="x", limit=2.0, offset=None)
    outcome = await desk.toolbox.call("list_dir", "", ToolContext(desk.workspace, ToolState()))
    assert outcome.error_code == ""


async def test_a_call_can_be_cancelled(desk: Desk) -> None:
    call = asyncio.ensure_future(desk.call("terminal", command="sleep 1"))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
