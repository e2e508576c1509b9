"""Every standard tool passes the suite that any tool must pass."""

from __future__ import annotations

from typing import Any

import pytest

from repodrome.tools.registry import get_tool, standard_tools
from tests.conformance.tool_suite import CHECKS, Check
from tests.tools.conftest import Desk

pytestmark = pytest.mark.anyio

LEGAL: dict[str, dict[str, Any]] = {
    "read_file": {"path": "a.txt"},
    "list_dir": {},
    "glob": {"pattern": "*.txt"},
    "grep": {"pattern": "one"},
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
