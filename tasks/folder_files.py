"""The files of a task folder, read so that every fault names the file, the key and the fix."""

from __future__ import annotations

import json
import shlex
import tomllib
from pathlib import Path
from typing import Any

from repodrome.errors import TaskFormatError


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file.

    Raises:
        TaskFormatError: it is missing, or no TOML.
    """
    if not path.is_file():
        what = "there is no task folder here" if not path.parent.is_dir() else "is missing"
        raise TaskFormatError(
            str(path), "", what, "name a folder with a task.toml, or make one: repodrome task new"
        )
    try:
        return tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as exc:
        raise TaskFormatError(
            str(path), "", f"is not valid TOML: {exc}", "mend that line"
        ) from None


def read_text(path: Path) -> str:
    """A text file.

    Raises:
        TaskFormatError: it can't be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as exc:
        raise TaskFormatError(
            str(path), "", f"is not UTF-8 text (byte {exc.start})", "save it as UTF-8"
        ) from None
    except OSError as exc:
        raise TaskFormatError(
            str(path), "", f"can't be read ({exc.strerror})", "make it readable"
        ) from None


def read_expected(path: Path) -> dict[str, tuple[str, ...]]:
    """``expected.json`` as verifier fields; SWE-bench's lists inside strings are read as well.

    Raises:
        TaskFormatError: it is not what it should be.
    """
    if not path.is_file():
        return {}
    try:
        data = json.loads(read_text(path))
    except json.JSONDecodeError as exc:
        raise TaskFormatError(
            str(path),
            "",
            f"is not valid JSON: {exc}",
            f"delete it, then run: repodrome task validate --write {shlex.quote(str(path.parent))}",
        ) from None
    if not isinstance(data, dict):
        raise TaskFormatError(
            str(path), "", "is not an object", 'write {"FAIL_TO_PASS": [], "PASS_TO_PASS": []}'
        )
    found = {}
    for key in ("FAIL_TO_PASS", "PASS_TO_PASS"):
        ids = data.get(key, [])
        if isinstance(ids, str):
            try:
                ids = json.loads(ids)
            except json.JSONDecodeError:
                ids = None
        if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
            raise TaskFormatError(
                str(path), key, "is not a list of test ids", 'write ["tests/test_a.py::test_b"]'
            )
        found[key.lower()] = tuple(ids)
    return found
