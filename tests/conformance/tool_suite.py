"""What any Tool must do, ours or a third party's.

Use it from a test::

    @pytest.mark.parametrize("check", CHECKS)
    async def test_my_tool(check, workspace):
        await check(MyTool(), {"path": "a.txt"}, workspace)

``legal`` are arguments of a call that succeeds in ``workspace``. Where they name a file, it is
``a.txt``: the checks of odd paths put theirs in its place. They make what they need by commands, so
that any workspace will do.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import anyio

from repodrome.tools.base import Tool, ToolContext, ToolState
from repodrome.tools.toolbox import CallOutcome, Toolbox
from repodrome.tools.workspace import Workspace

Check = Callable[[Tool, Mapping[str, Any], Workspace], Awaitable[None]]

_WRONG: dict[str, list[Any]] = {
    "string": [5, True, ["a"], {"a": 1}],
    "integer": ["5", 1.5, True, [1], 10**5000],
    "number": ["5", True, {}],
    "boolean": ["true", 1, 0.0],
    "array": ["a", 1, [1], [None], [["a"]], {"0": "a"}, [1] * 500_000],
}
_PATIENCE = 60.0
"""Seconds after which a call hangs, to the suite."""
_MAX_TEXT = 101_000

_ODD_TREE = r"""
mkdir -p odd/dir/deeper odd/full && cd odd
ln -s /etc/passwd out; ln -s /etc outdir; ln -s ../../secret climbing; ln -s loop loop
ln -s dir inside; ln -s nowhere dangling
printf '\0\1\2ELF' > binary; printf 'caf\351\n' > latin1.txt; : > empty.txt
printf 'x = 1\r\ny = 2\r\n' > crlf.py; mkfifo fifo; echo x > full/file
truncate -s 300M huge; head -c 3000000 /dev/zero | tr '\0' x > line.txt
echo x > $'new\nline.py'; echo x > $'bad\xff.py'; echo x > -dash; echo x > 'a  b'
echo 'x = "no newline at the end"' | tr -d '\n' > last.py
"""
_ODD_PATHS = (
    "odd", "odd/dir", "odd/full", "odd/inside", "odd/dangling", "odd/loop", "odd/binary",
    "odd/huge", "odd/latin1.txt", "odd/empty.txt", "odd/crlf.py", "odd/fifo", "odd/line.txt",
    "odd/new\nline.py", "odd/bad\udcff.py", "odd/-dash", "odd/a  b", "odd/last.py",
    "odd/empty.txt/x", "odd/no/such.py",
    "", " ", ".", "./", "a.txt/", "a.txt/.", "-rf", "--help", "~", "$HOME", "a" * 300, "d/" * 3000,
    "\0", "a\0b", "\n", "\x1b[2J", "*", "{a,b}", "C:\\x", "%2e%2e/x",
)  # fmt: skip
_OUTSIDE = (
    "/etc/passwd", "/etc", "/", "//etc/passwd", "../secret", "..", "a/../../secret", "odd/../..",
    "odd/out", "odd/outdir", "odd/outdir/passwd", "odd/climbing", "/proc/self/environ",
)  # fmt: skip
_PATTERNS = (
    "(", "[", "*", "+", "?", "(?P<", "(?P<a>x)(?P<a>y)", "\\", "a{99999999}", "a{2,1}", "[z-a]",
    "(?", "{", "}", "[[:nope:]]", "\\p{Nope}", "\x00", "\n", "(?i", "**/**/**", "../*", "/etc/*",
    "[!", "{a",
    "(a+)+$", "(a|a)*$", "(.*)*x", "((a{0,30}){0,30}){0,30}", r"(a+)+\1$", r"^(?=(a+))\1+$",
    "x" * 10_000, "{" * 200, "{a,b}" * 12, "*a" * 200, "(" * 5000,
)  # fmt: skip


async def _call(
    tool: Tool, arguments: Mapping[str, Any] | str, workspace: Workspace
) -> CallOutcome:
    outcome = await Toolbox([tool]).call(tool.name, arguments, ToolContext(workspace, ToolState()))
    outcome.text.encode()  # always encodable
    json.dumps(outcome.data)
    return outcome


async def is_a_tool(tool: Tool, legal: Mapping[str, Any], workspace: Workspace) -> None:
    assert isinstance(tool, Tool)
    assert isinstance(tool.read_only, bool)
    assert len(tool.description) > 20


async def has_a_flat_described_schema(
    tool: Tool, legal: Mapping[str, Any], workspace: Workspace
) -> None:
    (schema,) = Toolbox([tool]).schemas()
    json.dumps(schema)
    assert schema["type"] == "function"
    assert schema["function"]["name"] == tool.name
    parameters = schema["function"]["parameters"]
    assert parameters["type"] == "object"
    assert set(parameters["required"]) <= set(parameters["properties"])
    for name, one in parameters["properties"].items():
        assert one["type"] in ("string", "integer", "number", "boolean", "array"), name
        assert one["description"].endswith("."), name
        assert not {"anyOf", "$ref", "properties", "title"} & set(one), name
        assert ("default" in one) == (name not in parameters["required"]), name


async def takes_legal_arguments(tool: Tool, legal: Mapping[str, Any], workspace: Workspace) -> None:
    outcome = await _call(tool, legal, workspace)
    assert outcome.error_code == "", outcome.text
    assert outcome.text


async def takes_json_text_and_null_for_optional(
    tool: Tool, legal: Mapping[str, Any], workspace: Workspace
) -> None:
    fields = tool.arguments.model_fields
    optional = {name: None for name, one in fields.items() if not one.is_required()}
    outcome = await _call(tool, json.dumps({**optional, **legal}), workspace)
    assert outcome.error_code == "", outcome.text


async def refuses_what_is_not_an_object(
    tool: Tool, legal: Mapping[str, Any], workspace: Workspace
) -> None:
    for text in ("[1, 2]", '"path"', "null", "7"):
        assert (await _call(tool, text, workspace)).error_code == "invalid_arguments"
    for text in ("{", "{'a': 1}", '{"a": 1} x', "[" * 100_000, '{"a": ' + "9" * 5000 + "}", "\x00"):
        outcome = await _call(tool, text, workspace)
        assert outcome.error_code in ("invalid_json", "invalid_arguments"), text[:20]
        assert len(outcome.text) < 2000


async def refuses_unknown_arguments(
    tool: Tool, legal: Mapping[str, Any], workspace: Workspace
) -> None:
    outcome = await _call(tool, {**legal, "no_such_thing": 1}, workspace)
    assert outcome.error_code == "invalid_arguments"
    assert "no_such_thing" in outcome.text


async def refuses_absurdly_many_arguments(
    tool: Tool, legal: Mapping[str, Any], workspace: Workspace
) -> None:
    outcome = await _call(tool, {**legal, **{f"n{n}": n for n in range(200_000)}}, workspace)
    assert outcome.error_code == "invalid_arguments"
    assert len(outcome.text) < 2000


async def refuses_missing_arguments(
    tool: Tool, legal: Mapping[str, Any], workspace: Workspace
) -> None:
    for name, one in tool.arguments.model_fields.items():
        if one.is_required():
            rest = {key: value for key, value in legal.items() if key != name}
            outcome = await _call(tool, rest, workspace)
            assert outcome.error_code == "invalid_arguments"
            assert f"{name} is missing" in outcome.text


async def refuses_wrong_types(tool: Tool, legal: Mapping[str, Any], workspace: Workspace) -> None:
    (schema,) = Toolbox([tool]).schemas()
    for name, one in schema["function"]["parameters"]["properties"].items():
        for wrong in _WRONG[one["type"]]:
            outcome = await _call(tool, {**legal, name: wrong}, workspace)
            assert outcome.error_code == "invalid_arguments", (name, wrong)
            assert name in outcome.text
        if one["type"] == "string":
            # Lone surrogates and NULs come out of JSON; they may fail, but only as an observation.
            for odd in ("\ud800", "a\0b"):
                await _call(tool, {**legal, name: odd}, workspace)


async def _make(workspace: Workspace, script: str) -> None:
    done = await workspace.exec(["bash", "-ec", script], cwd=workspace.root, timeout=60)
    assert done.exit_code == 0, done.stderr


def _with_path(
    tool: Tool, legal: Mapping[str, Any], path: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The legal call with this path in the places where it can name one."""
    for name, one in tool.arguments.model_fields.items():
        value = legal.get(name)
        if name == "path" or value == "a.txt":
            yield name, {**legal, name: path}
        elif name == "paths":
            yield name, {**legal, name: [path]}
        elif isinstance(value, str) and "a.txt" in value and one.is_required():
            yield name, {**legal, name: value.replace("a.txt", path)}


async def _patiently(tool: Tool, arguments: Mapping[str, Any], workspace: Workspace) -> CallOutcome:
    with anyio.fail_after(_PATIENCE):
        outcome = await _call(tool, arguments, workspace)
    assert len(outcome.text.encode()) < _MAX_TEXT
    assert not any(ord(char) < 32 and char not in "\n\t" for char in outcome.text), arguments
    assert bool(outcome.hint) == bool(outcome.error_code) and len(outcome.hint) < 3000
    return outcome


async def _look(workspace: Workspace) -> bytes:
    """What lies beside the workspace."""
    script = "cat ../secret 2>/dev/null; ls -a .. /etc; stat -c %Y /etc/passwd"
    return (await workspace.exec(["bash", "-c", script], cwd=workspace.root)).stdout


async def refuses_paths_out_of_the_workspace(
    tool: Tool, legal: Mapping[str, Any], workspace: Workspace
) -> None:
    await _make(workspace, _ODD_TREE)
    before = await _look(workspace)
    for path in _OUTSIDE:
        for name, arguments in _with_path(tool, legal, path):
            outcome = await _patiently(tool, arguments, workspace)
            assert "root:" not in outcome.text and "PATH=" not in outcome.text, path
            # A link may itself be deleted or replaced by a file; what it leads to may not be.
            if not (path in ("odd/out", "odd/outdir", "odd/climbing") and not tool.read_only):
                assert outcome.error_code, (name, path, outcome.text)
    assert await _look(workspace) == before


async def bears_odd_files(tool: Tool, legal: Mapping[str, Any], workspace: Workspace) -> None:
    await _make(workspace, _ODD_TREE)
    for path in _ODD_PATHS:
        for _, arguments in _with_path(tool, legal, path):
            await _patiently(tool, arguments, workspace)


async def says_when_there_is_no_such_file(
    tool: Tool, legal: Mapping[str, Any], workspace: Workspace
) -> None:
    for name, arguments in _with_path(tool, legal, "no/such/file.txt"):
        if tool.read_only or legal.get(name) == "a.txt":
            outcome = await _patiently(tool, arguments, workspace)
            assert outcome.error_code == "not_found" and outcome.hint, outcome.text


async def bears_files_it_may_not_read(
    tool: Tool, legal: Mapping[str, Any], workspace: Workspace
) -> None:
    await _make(workspace, "mkdir shut; echo x > shut/in.py; echo x > a.txt; chmod 0 shut a.txt")
    try:
        for path in ("a.txt", "shut", "shut/in.py", "."):
            for _, arguments in _with_path(tool, legal, path):
                await _patiently(tool, arguments, workspace)
        await _patiently(tool, legal, workspace)
    finally:
        await _make(workspace, "chmod 700 shut; chmod 600 a.txt || true")


async def bears_any_pattern(tool: Tool, legal: Mapping[str, Any], workspace: Workspace) -> None:
    names = [n for n in ("pattern", "query", "glob", "type") if n in tool.arguments.model_fields]
    if names:
        await _make(workspace, "printf 'a%.0s' {1..50000} > long.txt; echo b >> long.txt")
    for name in names:
        for pattern in _PATTERNS:
            await _patiently(tool, {**legal, name: pattern}, workspace)


async def works_in_an_empty_workspace(
    tool: Tool, legal: Mapping[str, Any], workspace: Workspace
) -> None:
    await _make(workspace, "find . -mindepth 1 -delete")
    outcome = await _patiently(tool, legal, workspace)
    assert outcome.text
    await _make(workspace, "find . -mindepth 1 -delete; git init -q . || true")
    assert (await _patiently(tool, legal, workspace)).text


async def caps_its_output(tool: Tool, legal: Mapping[str, Any], workspace: Workspace) -> None:
    outcome = await Toolbox([tool], max_output_bytes=64).call(
        tool.name, legal, ToolContext(workspace, ToolState())
    )
    assert len(outcome.text.encode()) < 64 + 100


CHECKS: tuple[Check, ...] = (
    is_a_tool,
    has_a_flat_described_schema,
    takes_legal_arguments,
    takes_json_text_and_null_for_optional,
    refuses_what_is_not_an_object,
    refuses_unknown_arguments,
    refuses_absurdly_many_arguments,
    refuses_missing_arguments,
    refuses_wrong_types,
    refuses_paths_out_of_the_workspace,
    bears_odd_files,
    says_when_there_is_no_such_file,
    bears_files_it_may_not_read,
    bears_any_pattern,
    works_in_an_empty_workspace,
    caps_its_output,
)
