"""Other names and orders for the same tools, drawn by seed, so that no policy learns one schema."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Literal

from repodrome.tools.presentation import Presentation, Presented

Perturbation = Literal["tools", "parameters", "order"]

_TOOLS = {
    "read_file": ("view_file", "open_file", "show_file", "file_read", "view"),
    "list_dir": ("list_directory", "ls", "list_files", "show_directory", "dir_list"),
    "glob": ("find_files", "file_search", "glob_search", "match_files"),
    "grep": ("search", "search_text", "grep_search", "find_in_files", "ripgrep"),
    "semantic_search": ("codebase_search", "search_code", "find_code", "semantic_find"),
    "edit_file": ("str_replace", "search_replace", "replace_in_file", "edit", "modify_file"),
    "write_file": ("create_file", "save_file", "file_write", "put_file", "write"),
    "delete_file": ("remove_file", "rm_file", "file_delete", "unlink"),
    "apply_patch": ("patch", "apply_diff", "patch_files", "multi_edit"),
    "terminal": ("run_command", "bash", "shell", "execute_command", "run_terminal_cmd"),
    "terminal_job": ("background_job", "job_control", "manage_job", "shell_job"),
    "read_lints": ("lint", "diagnostics", "get_problems", "check_code"),
    "todo_write": ("update_todos", "write_todos", "update_plan", "plan"),
    "finish": ("submit", "done", "complete_task", "attempt_completion"),
}
_PARAMETERS = {
    "path": ("file_path", "target", "file", "location", "target_path"),
    "paths": ("files", "file_paths", "targets"),
    "offset": ("start_line", "from_line", "first_line", "line"),
    "limit": ("max_lines", "count", "max_count", "num"),
    "pattern": ("query", "expression", "search", "match"),
    "glob": ("include", "file_pattern", "files_matching"),
    "type": ("file_type", "language", "kind"),
    "output_mode": ("mode", "output", "show"),
    "context": ("context_lines", "around", "lines_around"),
    "ignore_case": ("case_insensitive", "any_case"),
    "head_limit": ("max_results", "first", "at_most"),
    "old_string": ("old_str", "old_text", "find", "before"),
    "new_string": ("new_str", "new_text", "replacement", "after"),
    "replace_all": ("all", "every", "all_occurrences"),
    "content": ("contents", "text", "data", "file_text"),
    "patch": ("diff", "patch_text", "changes"),
    "command": ("cmd", "script", "shell_command", "line"),
    "timeout": ("timeout_seconds", "time_limit", "max_seconds"),
    "session": ("shell", "shell_id", "session_id"),
    "background": ("run_in_background", "is_background", "detached"),
    "message": ("summary", "final_message", "result", "answer"),
    "query": ("question", "search_query", "what"),
    "todos": ("items", "tasks", "todo_list"),
    "merge": ("update", "keep_others"),
    "action": ("operation", "op", "do"),
    "job": ("job_id", "id", "number"),
    "input": ("stdin", "text", "keys"),
}
_STYLES: tuple[Callable[[str], str], ...] = (
    lambda name: name,
    lambda name: name,
    lambda name: (words := name.split("_"))[0] + "".join(word.title() for word in words[1:]),
    lambda name: "".join(word.title() for word in name.split("_")),
)
"""Snake case (twice as likely), camel case, Pascal case; parameters keep to the first three."""


def perturbed(
    how: Presentation, shown: Sequence[Presented], kinds: Iterable[Perturbation], key: str
) -> Presentation:
    """A presentation with new names and orders; equal arguments give an equal one, everywhere.

    What the task itself renames keeps the task's name.

    Args:
        how: the task's own presentation.
        shown: the tools as it presents them.
        kinds: what to change: the tools' names, the parameters' names, the order of both.
        key: what is drawn from, e.g. seed and task.
    """
    kinds = set(kinds)
    rename = dict(how.rename)
    taken = {one.name for one in shown}
    style = _STYLES[_draw(f"{key} style", len(_STYLES))]
    for one in shown:
        if "tools" in kinds and one.name == one.own:
            taken.discard(one.name)
            rename[one.own] = _choose(one.own, _TOOLS, style, taken, f"{key} {one.own}")
            taken.add(rename[one.own])
        if "parameters" in kinds:
            rename |= _parameters(one, how, key)
    if "order" not in kinds:
        return replace(how, rename=rename)
    return replace(
        how,
        rename=rename,
        order=_shuffled([one.own for one in shown], key),
        parameter_order={
            one.own: _shuffled(list(one.parameters), f"{key} {one.own}") for one in shown
        },
    )


def _parameters(one: Presented, how: Presentation, key: str) -> dict[str, str]:
    style = _STYLES[_draw(f"{key} parameters", 3)]
    fixed = {own for own in one.parameters if f"{one.own}.{own}" in how.rename}
    taken = {one.parameters[own] for own in fixed}
    rename = {}
    for own in one.parameters:
        if own not in fixed:
            name = _choose(own, _PARAMETERS, style, taken, f"{key} parameter {own}")
            taken.add(name)
            rename[f"{one.own}.{own}"] = name
    return rename


def _choose(
    own: str,
    table: dict[str, tuple[str, ...]],
    style: Callable[[str], str],
    taken: set[str],
    key: str,
) -> str:
    """One of the names for ``own``, itself among them, that is not taken."""
    names = [style(name) for name in (own, *table.get(own, ()))]
    free = [name for name in names if name not in taken]
    if free:
        return free[_draw(key, len(free))]
    number = 2
    while f"{own}_{number}" in taken:
        number += 1
    return f"{own}_{number}"


def _shuffled(names: Sequence[str], key: str) -> tuple[str, ...]:
    return tuple(sorted(names, key=lambda name: _digest(f"{key} order {name}")))


def _draw(key: str, below: int) -> int:
    # A hash and not ``random``, whose draws may differ between Python versions.
    return int.from_bytes(_digest(key)[:8], "big") % below


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
