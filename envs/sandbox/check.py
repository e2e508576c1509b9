"""What a look at the machine found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One finding.

    Attributes:
        name: what was looked at.
        ok: it is as it should be.
        detail: what was found.
        fix: what to do where it isn't.
        required: nothing runs without it; else something is merely weaker.
    """

    name: str
    ok: bool
    detail: str
    fix: str = ""
    required: bool = True
