"""Which tools there are: the standard ones, and third parties' through entry points."""

from __future__ import annotations

from repodrome.plugins import installed_names, instance_of, load_installed
from repodrome.tools.base import Tool

GROUP = "repodrome.tool"
"""Entry-point group of third-party tools: each names a Tool, or a callable that makes one."""


def standard_tools() -> dict[str, Tool]:
    """Every standard tool with its default settings, in the order agents see them."""
    from repodrome.tools.apply_patch import ApplyPatch
    from repodrome.tools.delete_file import DeleteFile
    from repodrome.tools.edit_file import EditFile
    from repodrome.tools.finish import Finish
    from repodrome.tools.glob import Glob
    from repodrome.tools.grep import Grep
    from repodrome.tools.list_dir import ListDir
    from repodrome.tools.read_file import ReadFile
    from repodrome.tools.read_lints import ReadLints
    from repodrome.tools.semantic_search import SemanticSearch
    from repodrome.tools.terminal import Terminal
    from repodrome.tools.terminal_job import TerminalJob
    from repodrome.tools.todo_write import TodoWrite
    from repodrome.tools.write_file import WriteFile

    tools: tuple[Tool, ...] = (
        ReadFile(), ListDir(), Glob(), Grep(), SemanticSearch(), EditFile(), WriteFile(),
        DeleteFile(), ApplyPatch(), Terminal(), TerminalJob(), ReadLints(), TodoWrite(), Finish(),
    )  # fmt: skip
    return {tool.name: tool for tool in tools}


def tool_names() -> list[str]:
    """Names of every tool that can be had, standard ones first."""
    standard = list(standard_tools())
    return standard + sorted(installed_names(GROUP) - set(standard))


def get_tool(name: str) -> Tool:
    """One tool with its default settings. Standard ones come before third parties' of that name.

    Raises:
        UnknownNameError: there is none of that name.
        UsageError: the entry point of that name doesn't give a tool.
    """
    standard = standard_tools()
    if name in standard:
        return standard[name]
    found = load_installed("tool", name, GROUP, standard)
    tool: Tool = instance_of(Tool, found, name, GROUP)
    return tool
