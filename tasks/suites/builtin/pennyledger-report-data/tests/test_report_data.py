import ast
import dataclasses
import importlib
from datetime import date
from pathlib import Path

import pytest

import pennyledger
from pennyledger import parse_journal
from pennyledger.cli import main
from pennyledger.reports import Selection

JOURNAL = """\
2024-11-01 * Bakery with a very long name
    expenses:food  8.00 EUR
    assets:cash

2025-02-03 Train
    expenses:travel  30.00 EUR  ; #work
    expenses:fees  1.20 USD
    assets:cash

2024-12-31 Refund
    expenses:food  -8.00 EUR
    assets:cash
"""
OUTPUT = {
    ("balance",): """\
      -30.00 EUR
       -1.20 USD  assets
      -30.00 EUR
       -1.20 USD    cash
       30.00 EUR
        1.20 USD  expenses
        1.20 USD    fees
       30.00 EUR    travel
""",
    ("balance", "expenses", "--to", "2024-12-01"): """\
        8.00 EUR  expenses
        8.00 EUR    food
""",
    ("balance", "nothing"): "",
    ("register", "expenses"): """\
2024-11-01  Bakery with a       8.00 EUR       8.00 EUR
2024-12-31  Refund             -8.00 EUR              0
2025-02-03  Train              30.00 EUR      30.00 EUR
2025-02-03  Train               1.20 USD      30.00 EUR
                                               1.20 USD
""",
    ("register", "nothing"): "",
    ("monthly", "expenses"): """\
2024-11  8.00 EUR                ##
2024-12  -8.00 EUR               ##
2025-01  0
2025-02  30.00 EUR, 1.20 USD     ##########
""",
    ("monthly", "expenses:fees"): "2025-02  1.20 USD                ##########\n",
    ("monthly", "expenses", "--tag", "work", "--from", "2025-01-01"): "2025-02  30.00 EUR               ##########\n",
    ("monthly", "nothing"): "",
}
NAMES = ["balance", "register", "monthly"]


def modules():
    return importlib.import_module("pennyledger.reports"), importlib.import_module("pennyledger.render")


@pytest.mark.parametrize("args", list(OUTPUT), ids=" ".join)
def test_the_output_is_the_same(tmp_path, capsys, args):
    (tmp_path / "j").write_text(JOURNAL)
    book = ["--book", str(tmp_path / "book.jsonl")]
    main([*book, "import", str(tmp_path / "j")])
    capsys.readouterr()
    assert main([*book, *args]) == 0
    assert capsys.readouterr().out == OUTPUT[args]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("selection", [Selection(), Selection("expenses"), Selection("expenses", date(2024, 12, 1)), Selection("nothing")], ids=["all", "prefix", "from", "none"])
def test_rows_are_frozen_data_and_render_to_the_same_text(name, selection, tmp_path, capsys):
    reports, render = modules()
    rows = getattr(reports, f"{name}_rows")(parse_journal(JOURNAL), selection)
    assert isinstance(rows, list)
    for row in rows:
        assert dataclasses.is_dataclass(row) and not isinstance(row, type)
        field = dataclasses.fields(row)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(row, field, None)
    text = getattr(render, f"render_{name}")(rows)
    (tmp_path / "j").write_text(JOURNAL)
    book = ["--book", str(tmp_path / "book.jsonl")]
    main([*book, "import", str(tmp_path / "j")])
    capsys.readouterr()
    since = ["--from", "2024-12-01"] if selection.start else []
    # An empty prefix is everything, for all three.
    main([*book, name, selection.prefix, *since])
    assert capsys.readouterr().out.rstrip("\n") == text.rstrip("\n")


@pytest.mark.parametrize("name", NAMES)
def test_the_old_functions_are_gone(name):
    reports, _ = modules()
    assert not hasattr(reports, f"{name}_report")


def test_computing_makes_no_text():
    reports, _ = modules()
    tree = ast.parse(Path(reports.__file__).read_text(encoding="utf-8"))
    assert not any(isinstance(node, (ast.JoinedStr, ast.FormattedValue)) for node in ast.walk(tree))
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not attributes & {"join", "format", "ljust", "rjust", "center"}
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & {"str", "format", "repr", "print"}


def test_rendering_knows_no_journal():
    _, render = modules()
    tree = ast.parse(Path(render.__file__).read_text(encoding="utf-8"))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not names & {"Selection", "Transaction", "balance_rows", "register_rows", "monthly_rows"}


def test_reports_do_not_import_render():
    reports, _ = modules()
    tree = ast.parse(Path(reports.__file__).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert "render" not in (node.module or "")
            assert "render" not in {alias.name for alias in node.names}


def test_the_package_still_exports_the_same():
    assert "Book" in pennyledger.__all__
