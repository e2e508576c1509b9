"""Every standard tool passes the suite that any tool must pass."""

from __future__ import annotations

from typing import Any

import pytest

from repodrome.envs.sandbox.base import Sandbox
from repodrome.tools.registry import get_tool, standard_tools
from tests.conformance.tool_suite import CHECKS, Check, bears_any_pattern
from tests.tools.conftest import Desk
from tests.tools.test_reading import NoRipgrep

pytestmark = pytest.mark.anyio

LEGAL: dict[str, dict[str, Any]] = {
    "read_file": {"path": "a.txt"},
    "list_dir": {},
    "glob": {"pattern": "*.txt"},
    "grep": {"pattern": "one"},
    "semantic_search": {"query": "one"},
    "edit_file": {"path": "a.txt", "old_string": "one", "new_string": "1"},
    "write_file": {"path": "new.txt", "content": "x"},
    "delete_file": {"path": "a.txt"},
    "apply_patch": {"patch": "--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-one\n+1\n"},
    "terminal": {"command": "echo one"},
    "terminal_job": {},
    "read_lints": {},
    "todo_write": {"todos": ["pending: look around"]},
    "finish": {"message": "done"},
}


def test_every_standard_tool_is_here() -> None:
    assert list(LEGAL) == list(standard_tools())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", LEGAL)
async def test_conforms(name: str, check: Check, desk: Desk) -> None:
    desk.put("a.txt", "one\ntwo\n" * 1 + "three\n" * 20)
    await check(get_tool(name), LEGAL[name], desk.workspace)


BARE = [check for check in CHECKS if check.__name__.startswith(("bears", "refuses_paths", "says"))]


@pytest.mark.parametrize("name", LEGAL)
async def test_conforms_in_a_sandbox(name: str, sandbox: Sandbox) -> None:
    """What the fake can't show: another user, a quota, links judged by the sandbox itself."""
    for check in BARE:
        await sandbox.write("a.txt", b"one\ntwo\nthree\n")
        await check(get_tool(name), LEGAL[name], sandbox)
        done = await sandbox.exec(["find", sandbox.root, "-mindepth", "1", "-delete"])
        assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("read_file", {}),
        ("edit_file", {}),
        ("write_file", {"path": "a.txt"}),
        ("apply_patch", {}),
        ("read_lints", {"paths": ["a.py"]}),
    ],
)
async def test_unreadable_files_are_refused(name: str, changes: dict[str, Any], desk: Desk) -> None:
    for path in ("a.txt", "a.py"):
        desk.put(path, "one\n")
        desk.workspace.unreadable.add(path)
    assert "denied" in await desk.fails("permission", name, **{**LEGAL[name], **changes})
    assert (desk.path / "a.txt").read_text() == "one\n"


async def test_searching_without_ripgrep_bears_any_pattern(desk: Desk) -> None:
    desk.workspace = NoRipgrep(desk.path)
    await bears_any_pattern(get_tool("grep"), LEGAL["grep"], desk.workspace)


async def test_fifty_thousand_files(desk: Desk) -> None:
    script = "mkdir d{0..99}; for d in d*; do (cd $d; touch f{0..499}.py); done; echo one > a.txt"
    assert "[exit code 0]" in await desk.ok("terminal", command=script)
    for name, arguments in LEGAL.items():
        outcome = await desk.call(name, **arguments)
        assert outcome.error_code in ("", "not_read", "no_match", "not_found"), outcome
        assert len(outcome.text) < 101_000
    assert "1,000 of 50,000 files shown" in await desk.ok("glob", pattern="*.py", limit=5000)
    assert "more files not checked" in await desk.ok("read_lints", paths=["."])
    text = await desk.ok("grep", pattern="one")
    assert "[1 match in 1 file]" in text or "no matches" in text
