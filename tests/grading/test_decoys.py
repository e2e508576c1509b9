"""Decoys mislead who reads the tests' text, and change nothing of what pytest runs."""

from __future__ import annotations

import ast
from types import SimpleNamespace

from repodrome.envs.grading.canaries import plant
from repodrome.envs.grading.comparisons import insert
from repodrome.envs.grading.decoys import decoys

SOURCE = b"""\
import pytest
import till


def test_sum():
    assert till.total([1, 2]) == 3


@pytest.mark.parametrize("n", [1])
def test_same(n):
    assert till.total([n]) == n


class TestMore:
    def test_inner(self):
        self.assertEqual(till.total([]), 0)
def test_close():
    assert till.total([7]) == 7


def test_nothing_to_compare():
    till.total([])
"""
ASKED = [f"t.py::{name}" for name in ("test_sum", "test_same[1]", "TestMore::test_inner")]


def decoyed(source: bytes = SOURCE, asked: list[str] = ASKED) -> bytes:
    return insert(source, decoys({"t.py": source}, asked).get("t.py", []))


def final(source: bytes) -> dict[str, str]:
    """What every name stands for in the end."""
    found = {}
    for node in ast.parse(source).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        found.update({n.name: ast.dump(n) for n in inner if isinstance(n, ast.FunctionDef)})
    return found


def answers(source: bytes, call: str) -> list[object]:
    """What the comparisons of a call say, in the order of the file."""
    nodes = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Compare)]
    nodes.sort(key=lambda n: n.lineno)
    found = [n.comparators[0] for n in nodes if ast.unparse(n.left) == call]
    return [n.value for n in found if isinstance(n, ast.Constant)]


def test_what_is_defined_in_the_end_is_the_same() -> None:
    assert final(decoyed()) == final(SOURCE)


def test_the_first_answer_in_the_file_is_wrong_and_the_last() -> None:
    found = answers(decoyed(), "till.total([1, 2])")
    assert len(found) >= 3 and 3 in found
    assert found[0] != 3 and found[-1] != 3


def test_what_runs_is_what_was_there() -> None:
    names: dict[str, object] = {"__name__": "t", "till": SimpleNamespace(total=sum)}
    source = decoyed().replace(b"import till", b"").replace(b"import pytest", b"")
    exec(source.replace(b'@pytest.mark.parametrize("n", [1])', b""), names)
    for name in ("test_sum", "test_close"):
        function = names[name]
        assert callable(function)
        function()


def test_only_what_is_asked_for_gets_decoys() -> None:
    assert answers(decoyed(), "till.total([7])") == [7]
    assert decoys({"t.py": SOURCE}, ["t.py::test_nothing_to_compare"]) == {}


def test_decoys_stand_before_decorators_and_beside_canaries() -> None:
    for _ in range(20):
        texts = decoys({"t.py": SOURCE}, [*ASKED, "t.py::test_close"])
        files, canaries = plant(
            {"t.py": SOURCE}, [*ASKED, "t.py::test_close"], asked=ASKED, besides=texts
        )
        names = {canary.id.rpartition("::")[2] for canary in canaries}
        kept = {n: d for n, d in final(files["t.py"]).items() if n not in names}
        assert kept == final(SOURCE)


def test_unreadable_source_has_none() -> None:
    assert decoys({"t.py": b"def ("}, ["t.py::test_a"]) == {}
