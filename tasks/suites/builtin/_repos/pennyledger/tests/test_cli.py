import pytest

from pennyledger.cli import main

JOURNAL = """\
2024-05-01 Bakery
    expenses:food  8.00 EUR
    assets:cash

2024-07-02 Train
    expenses:travel  4.50 EUR
    assets:cash
"""


@pytest.fixture
def run(tmp_path, capsys):
    (tmp_path / "j").write_text(JOURNAL)

    def call(*args):
        status = main(["--book", str(tmp_path / "book.jsonl"), *args])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    call("import", str(tmp_path / "j"))
    return call


def test_balance(run):
    _, out, _ = run("balance")
    assert [line.split() for line in out.splitlines()] == [
        ["-12.50", "EUR", "assets"],
        ["-12.50", "EUR", "cash"],
        ["12.50", "EUR", "expenses"],
        ["8.00", "EUR", "food"],
        ["4.50", "EUR", "travel"],
    ]


def test_register(run):
    _, out, _ = run("register", "expenses", "--from", "2024-06-01")
    assert out.split() == ["2024-07-02", "Train", "4.50", "EUR", "4.50", "EUR"]


def test_monthly(run):
    _, out, _ = run("monthly", "expenses")
    assert out.splitlines() == [
        "2024-05  8.00 EUR                ##########",
        "2024-06  0",
        "2024-07  4.50 EUR                #####",
    ]


def test_add_and_export(run):
    assert run("add", "2024-04-30", "Rent", "expenses:rent", "500 EUR", "assets:bank")[0] == 0
    _, out, _ = run("export", "--to", "2024-05-01")
    assert out.splitlines()[0] == "2024-04-30 Rent"


def test_trouble(run):
    status, _, err = run("import", "nowhere.journal")
    assert status == 1
    assert "nowhere.journal" in err
