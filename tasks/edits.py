"""The edits that derive the agent's workspace from the source (``source.edits``).

Python files are edited by line and column ranges that :mod:`ast` gives, on bytes, so that all text
which isn't named stays as it is: line ends, encoding and odd characters included.
"""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from repodrome.errors import TaskFormatError
from repodrome.tasks.model import SourceEdit, Task
from repodrome.tasks.python_source import parse

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES = (*_FUNCTIONS, ast.ClassDef)
# Splits as Python's own tokenizer does; bytes.splitlines would also split at a lone form feed.
_LINES = re.compile(rb"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+")


class EditError(ValueError):
    """An edit that can't be made: its problem and its fix."""

    def __init__(self, problem: str, fix: str) -> None:
        self.problem, self.fix = problem, fix
        super().__init__(f"{problem}: {fix}")


def apply_edits(task: Task, workspace: Path, reference: Path) -> None:
    """Make the edits in ``workspace`` and keep each touched file's first content in ``reference``.

    Raises:
        TaskFormatError: an edit doesn't fit the source; its position in the list is named.
    """
    for index, edit in enumerate(task.source.edits):
        try:
            _apply(edit, workspace, reference)
        except EditError as exc:
            raise TaskFormatError(
                str(task.folder / "task.toml"),
                f"source.edits.{index} ({edit.op} {edit.path})",
                exc.problem,
                exc.fix,
            ) from None


def _apply(edit: SourceEdit, workspace: Path, reference: Path) -> None:
    target = workspace / edit.path
    if edit.op == "delete":
        if not target.exists() and not target.is_symlink():
            raise EditError("there is no such file", "correct the path, or drop the edit")
        files = [target] if target.is_symlink() or target.is_file() else _files_below(target)
        for file in files:
            _keep(file, workspace, reference)
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink()
        return
    if target.is_symlink() or not target.is_file():
        raise EditError("there is no such regular file", "correct the path, or drop the edit")
    before = target.read_bytes()
    after = _replaced(before, edit) if edit.op == "replace" else _python_edited(before, edit)
    _keep(target, workspace, reference)
    target.write_bytes(after)


def _files_below(directory: Path) -> list[Path]:
    return sorted(p for p in directory.rglob("*") if p.is_symlink() or p.is_file())


def _keep(file: Path, workspace: Path, reference: Path) -> None:
    kept = reference / file.relative_to(workspace)
    if kept.exists() or kept.is_symlink():
        return  # an earlier edit kept the original already
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(file, kept, follow_symlinks=False)


def _replaced(before: bytes, edit: SourceEdit) -> bytes:
    old, new = edit.old.encode(), edit.new.encode()
    if b"\r\n" in before and old not in before:
        # task.toml is written with \n; the file may not be.
        old, new = old.replace(b"\n", b"\r\n"), new.replace(b"\n", b"\r\n")
    count = before.count(old)
    if count != 1:
        raise EditError(
            f"'old' occurs {count} times, not once",
            "copy it exactly from the file" if count == 0 else "give more of the lines around it",
        )
    return before.replace(old, new)


def _python_edited(before: bytes, edit: SourceEdit) -> bytes:
    text = before
    for symbol in edit.symbols:
        source = _Python(text)
        nodes = list(source.find(symbol))
        if not nodes:
            raise EditError(f"{symbol!r} is not defined in it", source.near(symbol))
        if edit.op == "delete_symbol":
            text = source.without(nodes)
        else:
            text = source.stubbed(symbol, nodes, edit.keep_docstring)
    try:
        parse(text)
    except SyntaxError as exc:
        raise EditError(
            f"the result is no Python any more (line {exc.lineno}: {exc.msg})",
            "use 'replace' for this place",
        ) from None
    return text


class _Python:
    """One Python file as bytes, lines and syntax tree. Columns of the tree are UTF-8 bytes."""

    def __init__(self, text: bytes) -> None:
        try:
            text.decode("utf-8")
            self.tree = parse(text)
        except (SyntaxError, ValueError) as exc:
            raise EditError(f"is no UTF-8 Python source ({exc})", "use 'replace' instead") from None
        self.lines = _LINES.findall(text)
        if self.lines and self.lines[0].startswith(b"\xef\xbb\xbf"):
            # A byte order mark is not part of the tree's columns, and no symbol starts before it.
            self.lines[0] = self.lines[0][3:]
            self.mark = b"\xef\xbb\xbf"
        else:
            self.mark = b""
        newline = self.lines[0] if self.lines else b"\n"
        self.newline = b"\r\n" if newline.endswith(b"\r\n") else b"\n"

    def find(self, symbol: str) -> Iterator[ast.stmt]:
        """Every statement that defines a dotted name (overloads and branches give several)."""
        scopes: list[list[ast.stmt]] = [self.tree.body]
        *outer, last = symbol.split(".")
        for name in outer:
            scopes = [
                node.body
                for body in scopes
                for node in _statements(body)
                if isinstance(node, _SCOPES) and node.name == name
            ]
        for body in scopes:
            yield from (node for node in _statements(body) if _defines(node, last))

    def near(self, symbol: str) -> str:
        """A fix that names what is there."""
        import difflib

        names = sorted(_all_names(self.tree.body, ""))
        close = difflib.get_close_matches(symbol, names, n=3, cutoff=0.5)
        return "did you mean " + " or ".join(map(repr, close)) if close else "correct the name"

    def without(self, nodes: list[ast.stmt]) -> bytes:
        """The text without some statements; a body left empty gets ``pass``."""
        lines: list[bytes] = list(self.lines)
        for node in sorted(nodes, key=lambda n: n.lineno, reverse=True):
            first, last = _first_line(node) - 1, _last_line(node)
            if (
                lines[first][: _first_column(node)].strip()
                or lines[last - 1][node.end_col_offset or 0 :].split(b"#")[0].strip()
            ):
                raise EditError(
                    f"the statement in line {node.lineno} shares its line with another",
                    "use 'replace' instead",
                )
            filler = []
            if self._is_whole_body(node, nodes):
                filler = [lines[first][: _first_column(node)] + b"pass" + self.newline]
            else:
                # Keep the blank lines before the statement, drop those behind it.
                while last < len(lines) and not lines[last].strip():
                    last += 1
                if last == len(lines):
                    while first and not lines[first - 1].strip():
                        first -= 1
            lines[first:last] = filler
        return self.mark + b"".join(lines)

    def _is_whole_body(self, node: ast.stmt, gone: list[ast.stmt]) -> bool:
        """Whether removing ``gone`` empties the block of ``node``, and ``node`` is its first."""
        for parent in ast.walk(self.tree):
            for field in ("body", "orelse", "finalbody"):
                body = getattr(parent, field, None)
                if isinstance(body, list) and node in body and not isinstance(parent, ast.Module):
                    return body[0] is node and all(one in gone for one in body)
        return False

    def stubbed(self, symbol: str, nodes: list[ast.stmt], keep_docstring: bool) -> bytes:
        """The text with the functions' bodies, or those of a class's methods, replaced."""
        functions: list[ast.FunctionDef | ast.AsyncFunctionDef] = []
        for node in nodes:
            inside = _statements(node.body) if isinstance(node, ast.ClassDef) else [node]
            functions += [f for f in inside if isinstance(f, _FUNCTIONS) and not _is_overload(f)]
        if not functions:
            raise EditError(
                f"{symbol!r} is no function or class with methods",
                "use 'delete_symbol' or 'replace'",
            )
        lines: list[bytes] = list(self.lines)
        for function in sorted(functions, key=lambda n: n.lineno, reverse=True):
            self._stub(lines, function, keep_docstring)
        return self.mark + b"".join(lines)

    def _stub(
        self,
        lines: list[bytes],
        function: ast.FunctionDef | ast.AsyncFunctionDef,
        keep_docstring: bool,
    ) -> None:
        body = function.body
        raising = b"raise NotImplementedError"
        keep = keep_docstring and ast.get_docstring(function, clean=False) is not None
        first = body[0]
        row, column = _first_line(first) - 1, _first_column(first)
        head = lines[row][:column]
        indent = head if not head.strip() else b""
        one_line = bool(head.strip())
        if one_line:  # def f(): return 1
            start = lines[function.lineno - 1]
            indent = start[: len(start) - len(start.lstrip())] + b"    "
        end_row, end_column = _last_line(function) - 1, function.end_col_offset or 0
        tail = lines[end_row][end_column:]
        if tail.strip().startswith(b"#"):
            tail = self.newline  # a comment behind the last statement is part of what is taken out
        if keep:
            doc_row, doc_column = _last_line(first) - 1, first.end_col_offset or 0
            kept = lines[doc_row][:doc_column]
            lines[doc_row : end_row + 1] = [kept + self.newline, indent + raising + tail]
            return
        if one_line:
            lines[row : end_row + 1] = [head.rstrip() + self.newline, indent + raising + tail]
            return
        while not lines[row - 1].strip() or lines[row - 1].lstrip().startswith(b"#"):
            row -= 1  # comments above the first statement belong to the body
        lines[row : end_row + 1] = [indent + raising + tail]


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a scope, those in its if, try, with, for and match blocks included."""
    for node in body:
        yield node
        if isinstance(node, _SCOPES):
            continue
        for field in ("body", "orelse", "finalbody"):
            yield from _statements(getattr(node, field, []))
        for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
            yield from _statements(part.body)


def _defines(node: ast.stmt, name: str) -> bool:
    if isinstance(node, _SCOPES):
        return node.name == name
    if isinstance(node, ast.Assign):
        return any(isinstance(t, ast.Name) and t.id == name for t in node.targets)
    target = getattr(node, "target", None) or getattr(node, "name", None)
    is_binding = isinstance(node, ast.AnnAssign) or type(node).__name__ == "TypeAlias"
    return is_binding and isinstance(target, ast.Name) and target.id == name


def _all_names(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    for node in _statements(body):
        if isinstance(node, _SCOPES):
            yield prefix + node.name
            yield from _all_names(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.Assign):
            yield from (prefix + t.id for t in node.targets if isinstance(t, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield prefix + node.target.id


def _is_overload(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(ast.unparse(d).rpartition(".")[2] == "overload" for d in node.decorator_list)


def _first_line(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(d.lineno for d in decorators)])


def _first_column(node: ast.stmt) -> int:
    # With decorators the statement starts at the '@', which stands in the statement's own column.
    return node.col_offset


def _last_line(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno
