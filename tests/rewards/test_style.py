"""The style rewards: new faults cost, old ones and suppressions change nothing."""

from __future__ import annotations

import pytest

from repodrome.envs.grading.verdict import TestStatus, Verdict
from repodrome.envs.rewards.lines import changed_lines
from repodrome.envs.rewards.record import patch_lines
from repodrome.errors import UsageError
from tests.rewards.episodes import context, make, result, value

OLD = '"""A module."""\n\nimport os\n\n\ndef f(a, b):\n    return a - b\n'


def edited(old: str, new: str, **more: object) -> object:
    return context(before={"a.py": old}, after={"a.py": new}, **more)


def test_changed_lines_are_found_and_moved_ones_are_none() -> None:
    assert changed_lines(["a", "b", "c"], ["a", "x", "c"]) == ((1,), (1,))
    assert changed_lines(["a", "b"], ["b", "a"]) == ((), ())
    assert changed_lines([], ["a", "a"]) == ((0, 1), ())
    assert changed_lines(["a"], ["a", "a"]) == ((1,), ())


# -- lint -----------------------------------------------------------------------------------------


def test_lint_counts_new_diagnostics_on_changed_lines_only() -> None:
    better = OLD.replace("a - b", "a + b")
    assert value("style.lint", edited(OLD, better)) == 1.0  # the unused import was there
    worse = better.replace("return a", "unused = 1\n    return a")
    assert value("style.lint", edited(OLD, worse)) == 3 / 4
    assert value("style.lint", edited(OLD, worse), half=1) == 1 / 2
    assert value("style.lint", edited(OLD, worse), select=["B"]) == 1.0


def test_lint_is_not_helped_by_suppressions_or_configuration() -> None:
    worse = OLD.replace("return a", "unused = 1  # noqa\n    return a")
    found = result("style.lint", edited(OLD, worse))
    assert found.parts == {"diagnostics": 1.0, "suppressions": 1.0}
    config = context(
        before={"a.py": OLD},
        after={
            "a.py": OLD.replace("return a", "unused = 1\n    return a"),
            "ruff.toml": 'lint.select = []\nexclude = ["*"]\n',
        },
    )
    assert result("style.lint", config).parts["diagnostics"] == 1.0
    whole = "# ruff: noqa\n" + OLD.replace("return a", "unused = 1\n    return a")
    assert result("style.lint", edited(OLD, whole)).parts["diagnostics"] == 1.0


def test_a_line_that_keeps_its_old_fault_is_not_blamed() -> None:
    old = "def f(x):\n    if x == None:\n        return 1\n    return 2\n"
    new = old.replace("x == None", "x[0] == None")
    assert value("style.lint", edited(old, new)) == 1.0


def test_lint_of_hostile_files() -> None:
    nasty = context(
        after={
            "a.py": "def f(:\n",
            "deep.py": "(" * 5000 + ")" * 5000,
            "../../up.py": "import os\n",
            "b.py": "x = 1\n",
        }
    )
    assert 0 < value("style.lint", nasty) < 1


def test_lint_parameters_are_checked() -> None:
    with pytest.raises(UsageError, match="XYZ"):
        make("style.lint", select=["XYZ"])
    with pytest.raises(UsageError, match="half"):
        make("style.lint", half=0)


# -- format ---------------------------------------------------------------------------------------

BODY = "".join(f"def f{n}(a, b):\n    x = [a, b]\n    return x, 'ok'\n\n\n" for n in range(20))


@pytest.mark.parametrize(
    "line",
    [
        "\treturn x, 'ok'  # tab",
        "   return x, 'three blanks'",
        "    return x, 'ok'   ",
        "    y=1",
        "    y = [a,b,x]",
        '    return x, "double"',
        "    return x, 'crlf'\r",
        "    y = f( x )",
        "    return " + "x + " * 40 + "x",
    ],
)
def test_format_compares_with_what_is_around(line: str) -> None:
    like = BODY + "def g(a, b):\n    x = [b, a]\n    return x, 'no'\n"
    unlike = BODY + f"def g(a, b):\n    x = [b, a]\n{line}\n"
    assert value("style.format", edited(BODY, like)) == 1.0
    assert value("style.format", edited(BODY, unlike)) < 1.0


def test_format_that_is_custom_there_is_right() -> None:
    tabs = BODY.replace("    ", "\t")
    assert value("style.format", edited(tabs, tabs + "def g():\n\treturn 'x'\n")) == 1.0
    assert value("style.format", edited(tabs, tabs + "def g():\n    return 'x'\n")) < 1.0


def test_format_of_nothing_and_of_new_files() -> None:
    assert value("style.format", context()) == 1.0
    alone = context(after={"new.py": "def f():\n    return 1\n"})
    assert value("style.format", alone) == 1.0
    beside = context(
        before={"a.py": BODY}, after={"a.py": BODY + "X = 'y'\n", "new.py": 'X = "y"\nY = "z"\n'}
    )
    assert value("style.format", beside) < 1.0


# -- diff -----------------------------------------------------------------------------------------


def test_diff_is_held_against_the_reference() -> None:
    many = "".join(f"x{n} = {n}\n" for n in range(60))
    given = edited("", many, reference_lines=20)
    assert value("style.diff", given) == 30 / 60
    assert value("style.diff", given, slack=3) == 1.0
    assert value("style.diff", given, ignore=["*.py"]) == 1.0
    assert value("style.diff", edited("", many)) == 0.0  # nothing to hold it against


def test_diff_leaves_dropped_paths_aside() -> None:
    verdict = Verdict(
        kind="pytest", fail_to_pass={"a": TestStatus.PASSED}, dropped=("tests/test_x.py",)
    )
    given = context(after={"tests/test_x.py": "x = 1\n" * 500}, verdict=verdict, reference_lines=1)
    assert value("style.diff", given) == 1.0


def test_the_reference_is_measured_as_changes_are() -> None:
    patch = (
        "--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n-a\n-moved\n keep\n+b\n+moved\n--- a/y\n+++ b/y\n+new\n"
    )
    assert patch_lines(patch) == 3


# -- complexity -----------------------------------------------------------------------------------


def branches(number: int, name: str = "f") -> str:
    lines = "".join(f"    if a == {n}:\n        return {n}\n" for n in range(number))
    return f"def {name}(a):\n{lines}    return a\n"


def test_complexity_counts_what_came_on_top() -> None:
    assert value("style.complexity", edited(branches(2), branches(9))) == 1.0
    assert value("style.complexity", edited(branches(2), branches(19))) == 10 / (10 + 10)
    assert value("style.complexity", edited(branches(19), branches(19))) == 1.0
    assert value("style.complexity", edited(branches(14), branches(19))) == 10 / 15
    assert value("style.complexity", context(after={"n.py": branches(19)})) == 1 / 2


# -- comments -------------------------------------------------------------------------------------


def test_comments_that_say_why_are_free() -> None:
    new = OLD.replace(
        "    return", "    # Amounts are in cents, so that sums stay exact.\n    return"
    )
    assert value("style.comments", edited(OLD, new)) == 1.0


def test_thinking_aloud_and_essays_cost() -> None:
    aloud = OLD.replace("    return", "    # Wait, let me think: I need to add here.\n    return")
    assert value("style.comments", edited(OLD, aloud)) == 100 / 120
    essay = OLD + "# word word word word word word word word word word\n" * 40
    assert value("style.comments", edited(OLD, essay)) < 0.3
    other = context(after={"a.ts": "// Hmm, maybe we should try another way\nlet x = 1\n"})
    assert value("style.comments", other) < 1.0
