"""Questions with known answers from real code: docstrings, taken out before anything is indexed.

The filters are those of CodeSearchNet (Husain et al., 2019, arXiv 1909.09436, §2): the question is
the docstring's first paragraph, of at least three words; no function of fewer than three lines, no
test, no special method.
"""

from __future__ import annotations

import ast
import random
import re
from dataclasses import dataclass
from pathlib import Path

TESTS = re.compile(r"(?:^|/)(?:tests?|testing|docs?|examples?)(?:/|$)|(?:^|/)test_|conftest")


@dataclass(frozen=True)
class Question:
    """A question and the function that answers it.

    Attributes:
        text: the question.
        path: the function's file.
        start: its first line, from 1.
        end: its last line.
        name: its name.
    """

    text: str
    path: str
    start: int
    end: int
    name: str


def stripped(source: Path, target: Path, most: int) -> list[Question]:
    """Copy a tree without any docstring in its Python files; the same lines stay the same.

    Returns:
        At most so many questions, drawn with a fixed seed.
    """
    questions: dict[str, Question] = {}
    for file in sorted(source.rglob("*")):
        if not file.is_file() or file.is_symlink():
            continue
        path = file.relative_to(source).as_posix()
        data = file.read_bytes()
        if file.suffix == ".py":
            try:
                text, found = _without_docstrings(path, data.decode())
            except (UnicodeDecodeError, SyntaxError):
                continue
            data = text.encode()
            if not TESTS.search(path):
                for one in found:
                    questions.setdefault(one.text, one)
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_bytes(data)
    drawn = list(questions.values())
    random.Random(0).shuffle(drawn)
    return drawn[:most]


def _without_docstrings(path: str, source: str) -> tuple[str, list[Question]]:
    lines = source.split("\n")
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        text = ast.get_docstring(node)
        if text is None:
            continue
        stated = node.body[0]
        assert stated.end_lineno is not None
        first, last = stated.lineno, stated.end_lineno
        if isinstance(node, ast.Module) or first > node.lineno:
            lines[first - 1 : last] = [""] * (last - first + 1)
        if isinstance(node, (ast.Module, ast.ClassDef)) or len(node.body) < 2:
            continue
        question = " ".join(text.split("\n\n")[0].split())
        end = node.end_lineno or node.lineno
        own_lines = end - node.lineno - (last - first)
        special = node.name.startswith("__") or "test" in node.name.lower()
        if question.count(" ") >= 2 and own_lines >= 3 and not special:
            found.append(Question(question, path, node.lineno, end, node.name))
    return "\n".join(lines), found
