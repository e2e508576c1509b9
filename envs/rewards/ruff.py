"""What ruff says of the changed Python files, before and after: evidence for two style rewards.

The files are hostile. Only their bytes are used: each is laid, under a name of ours, into an empty
directory, and ruff is run on that with ``--isolated``, so that no configuration of the workspace
counts, and with ``--ignore-noqa``, so that no suppression hides anything. A file that makes ruff
crash or hang is the agent's doing, and is noted as such.

Rules and their codes: https://docs.astral.sh/ruff/rules/
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from repodrome.envs.rewards.base import RewardContext
from repodrome.envs.rewards.lines import is_text
from repodrome.envs.sandbox.base import ChangedFile
from repodrome.errors import InfraError

EVIDENCE = "ruff"
RULES = ("E4", "E7", "E9", "F", "B", "SIM", "RET", "UP", "C4", "PIE", "PLE", "PLW", "S102", "S307")
"""Everything that ``style.lint`` may choose from; ``C901`` is asked for besides, for complexity."""
SUFFIXES = (".py", ".pyi")
TIMEOUT = 20.0
"""Seconds that ruff may take."""
MAX_FILES = 500
MAX_DIAGNOSTICS = 2000
"""Of one file; more are left out."""
SIMPLE = 5
"""Functions of this complexity or less are not noted."""
SYNTAX = "invalid-syntax"
CRASH = "crash"
"""The code noted for a file that ruff can't be run on."""
_ROW = re.compile(r"(.+?):(\d+):\d+: ([\w-]+):? (.*)")
_COMPLEXITY = re.compile(r"`(.*)` is too complex \((\d+) > \d+\)")


@lru_cache(maxsize=1)
def find_ruff() -> tuple[str, str]:
    """The executable and its version.

    Raises:
        InfraError: it is not installed, though it comes with repodrome.
    """
    beside = Path(sys.executable).parent / "ruff"
    path = str(beside) if beside.is_file() else shutil.which("ruff")
    if path is None:
        raise InfraError("style.lint and style.complexity need ruff; pip install ruff")
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    return path, said.stdout.strip()


def gather(context: RewardContext) -> dict[str, Any]:
    """Run ruff over both versions of every changed Python file.

    Returns:
        ``version``, and ``files``: path → ``before`` and ``after``, each with ``diagnostics``
        (``[code, line]``) and ``functions`` (``[name, cyclomatic complexity]``).

    Raises:
        InfraError: ruff can't be run at all.
    """
    chosen = _chosen(context.change.files, context.pristine)
    version = find_ruff()[1]
    if not chosen:
        return {"version": version, "files": {}}
    with tempfile.TemporaryDirectory(prefix="repodrome-ruff-") as name:
        root = Path(name)
        laid = {}
        for number, (path, data) in enumerate(chosen):
            # The name decides about some rules, but a path of the agent's is never used.
            base = path.rpartition("/")[2]
            special = base in ("__init__.py", "__main__.py", "__init__.pyi")
            file = root / (
                f"{number}/{base}" if special else f"m{number}{base[base.rindex('.') :]}"
            )
            laid[file] = number
            if special:
                file.parent.mkdir()
            file.write_bytes(data)
        facts = _facts(root, laid)
    found: dict[str, dict[str, Any]] = {}
    for number, (path, _) in enumerate(chosen):
        when = "after" if number % 2 else "before"
        found.setdefault(path, {})[when] = facts[number]
    return {"version": version, "files": found}


def _chosen(files: Sequence[ChangedFile], pristine: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
    """Each file twice in a row: as it was (empty where it is new), and as it is."""
    chosen: list[tuple[str, bytes]] = []
    for file in files:
        if file.data is None or not file.path.endswith(SUFFIXES):
            continue
        if file.kind == "modified" and file.path not in pristine:
            continue  # there is nothing to compare with
        before = pristine.get(file.path, b"")
        if is_text(file.data) and is_text(before) and len(chosen) < 2 * MAX_FILES:
            chosen += [(file.path, before), (file.path, file.data)]
    return chosen


def _facts(root: Path, laid: Mapping[Path, int]) -> list[dict[str, Any]]:
    """What ruff says of each file, by number."""
    facts: list[dict[str, Any]] = [{"diagnostics": [], "functions": []} for _ in laid]
    said = _run(root, root)
    if said is None:
        # One of the files is at fault: find out which.
        said = ""
        for file, number in laid.items():
            alone = _run(root, file)
            if alone is None:
                facts[number]["diagnostics"].append([CRASH, 1])
            said += alone or ""
    by_name = {str(file.relative_to(root)): number for file, number in laid.items()}
    for row in said.splitlines():
        found = _ROW.fullmatch(row)
        if found is None or found[1] not in by_name:
            continue
        fact = facts[by_name[found[1]]]
        code = SYNTAX if found[3] == "SyntaxError" else found[3]  # as older versions have it
        complexity = _COMPLEXITY.match(found[4]) if code == "C901" else None
        if complexity is not None:
            fact["functions"].append([complexity[1][:200], int(complexity[2])])
        elif len(fact["diagnostics"]) < MAX_DIAGNOSTICS:
            fact["diagnostics"].append([code, int(found[2])])
    for fact in facts:
        fact["diagnostics"].sort()
        fact["functions"].sort()
    return facts


def _run(root: Path, target: Path) -> str | None:
    """What ruff prints, a diagnostic a line, paths relative to ``root``; None where the files made
    it crash or hang."""
    argv = [
        *(find_ruff()[0], "check", "--isolated", "--no-cache", "--ignore-noqa", "--quiet"),
        *("--target-version", "py313", "--output-format", "concise"),
        *("--config", f"lint.mccabe.max-complexity={SIMPLE}"),
        *("--select", ",".join((*RULES, "C901")), str(target)),
    ]
    try:
        done = subprocess.run(
            argv,
            cwd=root,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return None
    except OSError as error:
        raise InfraError(f"ruff can't be run: {error}") from error
    if done.returncode not in (0, 1):
        if done.returncode < 0 or b"panicked" in done.stderr:
            return None
        raise InfraError(f"ruff failed: {done.stderr.decode(errors='replace')[-500:]}")
    return done.stdout.decode("utf-8", "replace")
