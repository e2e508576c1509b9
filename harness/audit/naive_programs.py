"""A deliberately naive grader of programs: it runs them in the agent's own sandbox.

What it does there is in :mod:`repodrome.harness.audit.naive_programs_inside`.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from repodrome.envs.sandbox.base import Sandbox
from repodrome.harness.audit import bench_programs
from repodrome.harness.audit.corpus import Case

_SECONDS = 60.0


async def believes(sandbox: Sandbox, case: Case) -> bool:
    """Whether the naive grader takes the program for right, or for fast."""
    kind = case.verifier
    orders = {
        "judge": case.judge,
        "program": bench_programs.COMMANDS[kind],
        "visible": bench_programs.VISIBLE[kind],
        "hidden": bench_programs.HIDDEN[kind],
        "reference": bench_programs.REFERENCES[kind],
    }
    done = await sandbox.run(
        ["python3", "-c", _source()],
        stdin=json.dumps(orders).encode(),
        cwd=sandbox.root,
        timeout=_SECONDS,
    )
    # No news is good news: what was ended before it found a fault has found none.
    return not done.timed_out and b"failed\n" not in done.stdout


@lru_cache(maxsize=1)
def _source() -> str:
    return (Path(__file__).parent / "naive_programs_inside.py").read_text("utf-8")
