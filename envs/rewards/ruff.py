"""What ruff says of the changed Python files, before and after: evidence for two style rewards.

The files are hostile bytes; how they are linted without anything of theirs being run or believed is
in :mod:`repodrome.tools.lints`.

Rules and their codes: https://docs.astral.sh/ruff/rules/
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from repodrome.envs.rewards.base import RewardContext
from repodrome.envs.rewards.lines import is_text
from repodrome.envs.sandbox.base import ChangedFile
from repodrome.tools.lints import RuffLinter, SourceFile

EVIDENCE = "ruff"
RULES = ("E4", "E7", "E9", "F", "B", "SIM", "RET", "C4", "PIE", "PLE", "PLW", "S102", "S307")
"""Everything that ``style.lint`` may choose from; ``C901`` is asked for besides, for complexity."""
MAX_FILES = 500
MAX_DIAGNOSTICS = 2000
"""Of one file; more are left out."""
UNREADABLE = "syntax"
"""The code noted for a file that is no Python, or that ruff can't cope with."""
COMPLEX = 10
"""Functions of this cyclomatic complexity or less are not noted."""
_COMPLEXITY = re.compile(r"`(.*)` is too complex \((\d+) > \d+\)")
_LINTER = RuffLinter(
    select=(*RULES, "C901"), suppressions=False, max_complexity=COMPLEX, timeout=20.0
)


def gather(context: RewardContext) -> dict[str, Any]:
    """Run ruff over both versions of every changed Python file. Blocks.

    Returns:
        ``version``, and ``files``: path → ``before`` and ``after``, each with ``diagnostics``
        (``[code, line]``) and ``functions`` (``[name, complexity]``, of complex ones).

    Raises:
        InfraError: ruff can't be run at all.
    """
    import anyio

    files = _chosen(context.change.files, context.pristine)
    facts: dict[str, dict[str, Any]] = {
        file.path: {"diagnostics": [], "functions": []} for file in files
    }
    for one in anyio.run(_LINTER.lint, files):
        fact = facts[one.path]
        complexity = _COMPLEXITY.match(one.message) if one.code == "C901" else None
        if complexity is not None:
            fact["functions"].append([complexity[1][:200], int(complexity[2])])
        elif len(fact["diagnostics"]) < MAX_DIAGNOSTICS:
            fact["diagnostics"].append([one.code or UNREADABLE, one.line])
    for fact in facts.values():
        fact["functions"].sort()
    paths = [file.path.partition("/")[2] for file in files[1::2]]
    return {
        "version": version("ruff"),
        "files": {
            path: {"before": facts[f"before/{path}"], "after": facts[f"after/{path}"]}
            for path in paths
        },
    }


def _chosen(files: Sequence[ChangedFile], pristine: Mapping[str, bytes]) -> list[SourceFile]:
    """Each file twice in a row: as it was (empty where it is new), and as it is."""
    chosen: list[SourceFile] = []
    for file in files:
        if file.data is None or not file.path.endswith(_LINTER.suffixes):
            continue
        if file.kind == "modified" and file.path not in pristine:
            continue  # there is nothing to compare with
        before = pristine.get(file.path, b"")
        if is_text(file.data) and is_text(before) and len(chosen) < 2 * MAX_FILES:
            chosen.append(SourceFile(f"before/{file.path}", before))
            chosen.append(SourceFile(f"after/{file.path}", file.data))
    return chosen
