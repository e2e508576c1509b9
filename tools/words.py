"""Names of tools and parameters in texts for agents, marked so that a task's renaming reaches them.

A tool's description, its parameters' descriptions, its errors and its notices write
``named("grep")`` and ``named("grep.head_limit")`` where they mean those; the toolbox puts in what
the agent calls them. The marks are Unicode noncharacters, which :func:`~repodrome.tools.text.
safe_text` escapes in whatever comes from files and commands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_OPEN, _CLOSE = "\ufdd0", "\ufdd1"
_MARKED = re.compile(f"{_OPEN}([^{_OPEN}{_CLOSE}]*){_CLOSE}")


def named(name: str) -> str:
    """A tool (``"grep"``) or a parameter (``"grep.head_limit"``), by its own name."""
    return f"{_OPEN}{name}{_CLOSE}"


def spoken(text: str, names: Mapping[str, str]) -> str:
    """The text with every marked name as the agent knows it.

    Args:
        text: with or without marks.
        names: own name → the agent's, as for :func:`named`; what is missing keeps its own name.
    """
    if _OPEN not in text:
        return text
    return _MARKED.sub(lambda found: names.get(found[1], found[1].rpartition(".")[2]), text)
