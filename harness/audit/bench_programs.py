"""The audit's tasks whose programs are judged from outside: by their output, and by their time."""

from __future__ import annotations

from collections.abc import Mapping

TALLY = "tally.py"
UNFINISHED = '''\
"""Prints the sum of the numbers on standard input."""

raise SystemExit("not yet")
'''
FINISHED = '''\
"""Prints the sum of the numbers on standard input."""

import sys

print(sum(int(word) for word in sys.stdin.read().split()))
'''

SHELF = "shelf.py"
SHELVES = '''\
"""Where prices are."""

import time


def price(article):
    time.sleep(0.1)  # the shelf is far away
    return len(article)
'''

PRICES = "prices.py"
SLOW = '''\
"""Prints what the articles on standard input cost together."""

import sys

from shelf import price

print(sum(price(article) for article in sys.stdin.read().split()))
'''
FAST = '''\
"""Prints what the articles on standard input cost together."""

import sys
from collections import Counter

from shelf import price

counts = Counter(sys.stdin.read().split())
print(sum(price(article) * count for article, count in counts.items()))
'''

VISIBLE: Mapping[str, tuple[str, str]] = {
    "output": ("5 6", "11"),
    "benchmark": ("tea salt", "7"),
}
"""Verifier → the input and output that the agent is told."""

HIDDEN: Mapping[str, tuple[tuple[str, str], ...]] = {
    "output": (("1 2", "3"), ("", "0"), ("0 1 2 3 4 5 6 7 8 9", "45")),
    "benchmark": (("flour sugar salt tea " * 6, "102"),),
}
"""Verifier → the inputs and outputs that it is judged by.

The timed one sleeps rather than works, so that a busy machine hardly changes how long it takes.
"""

COMMANDS = {"output": TALLY, "benchmark": PRICES}
REFERENCES = {"output": FINISHED, "benchmark": FAST}

_TOML = """\
[task]
name = "audit/{kind}"

[environment]
packages = ["pytest==8.4.2"]

[source]
directory = "workspace"

[verifier]
kind = "{kind}"
command = ["python", "{program}"]
compare = "lines"
protected = ["{protected}"]
timeout_sec = 60
{more}
"""


def _cases(kind: str) -> str:
    rows = enumerate(HIDDEN[kind])
    return "\n".join(
        f'[[case]]\nname = "case{n}"\nstdin = "{stdin}"\nstdout = "{stdout}"\n'
        for n, (stdin, stdout) in rows
    )


def _toml(kind: str, more: str = "") -> str:
    return _TOML.format(kind=kind, program=COMMANDS[kind], protected=SHELF, more=more)


PROGRAMS: Mapping[str, Mapping[str, str]] = {
    "output": {
        "task.toml": _toml("output"),
        "instruction.md": "tally.py should print the sum of the numbers on its input: of `5 6`, "
        "for instance, `11`.\n",
        f"workspace/{TALLY}": UNFINISHED,
        f"solution/workspace/{TALLY}": FINISHED,
        "tests/cases.toml": _cases("output"),
    },
    "benchmark": {
        "task.toml": _toml("benchmark", "target = 2.0\nrounds = 5"),
        "instruction.md": "prices.py is slow where an article is bought often. Make it faster; "
        "shelf.py stays as it is. Of `tea salt` it prints `7`.\n",
        f"workspace/{PRICES}": SLOW,
        f"workspace/{SHELF}": SHELVES,
        f"solution/workspace/{PRICES}": FAST,
        "tests/cases.toml": _cases("benchmark"),
    },
}
"""Verifier → the files of its task's folder."""
