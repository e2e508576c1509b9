import random
from decimal import Decimal

import pytest

from pennyledger import Amount, JournalError, allocate, format_journal, parse_journal
from pennyledger.cli import main


@pytest.mark.parametrize(
    ("amount", "weights", "parts"),
    [
        ("10.00 EUR", [1, 1, 1], "3.34 3.33 3.33"),
        ("-10.00 EUR", [1, 1, 1], "-3.34 -3.33 -3.33"),
        ("-0.05 EUR", [1, 1], "-0.03 -0.02"),
        ("100 JPY", [1, 1, 1], "34 33 33"),
        ("-101 JPY", [1, 1, 1], "-34 -34 -33"),
        ("1.000 BHD", [2, 1], "0.667 0.333"),
        ("0.02 EUR", [1, 1, 1], "0.01 0.01 0.00"),
        ("1.00 EUR", [1, 2, 4], "0.14 0.29 0.57"),
        ("-1.00 EUR", [1, 2, 4], "-0.14 -0.29 -0.57"),
        ("5.00 EUR", [0, 1], "0.00 5.00"),
        ("0.00 EUR", [1, 1], "0.00 0.00"),
    ],
)
def test_allocate(amount, weights, parts):
    assert " ".join(str(part).split()[0] for part in allocate(Amount.parse(amount), weights)) == parts


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_lost(seed):
    rng = random.Random(seed)
    digits = rng.choice([0, 1, 2, 3])
    amount = Amount(Decimal(rng.randint(-99999, 99999)).scaleb(-digits), "EUR")
    weights = [rng.randint(0, 9) for _ in range(rng.randint(1, 7))] + [1]
    parts = [part.quantity for part in allocate(amount, weights)]
    assert sum(parts) == amount.quantity
    unit = Decimal(1).scaleb(-digits)
    for part, weight in zip(parts, weights):
        share = amount.quantity * weight / sum(weights)
        assert abs(part - share) < unit
        assert part == part.quantize(unit)
        assert part == 0 or (part > 0) == (amount.quantity > 0)


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -1]])
def test_bad_weights(weights):
    with pytest.raises(ValueError):
        allocate(Amount.parse("1 EUR"), weights)


def postings(text):
    (entry,) = parse_journal("2024-05-03 Trip\n" + text)
    return [(posting.account, str(posting.amount)) for posting in entry.postings]


def test_an_open_posting_takes_every_currency():
    text = "    hotel  30.00 USD\n    taxi  8.50 EUR\n    cash\n    fee  1.20 USD\n"
    assert postings(text) == [
        ("hotel", "30.00 USD"),
        ("taxi", "8.50 EUR"),
        ("cash", "-8.50 EUR"),
        ("cash", "-31.20 USD"),
        ("fee", "1.20 USD"),
    ]


def test_balanced_currencies_are_left_alone():
    text = "    a  5 EUR\n    b  -5 EUR\n    c  3 USD\n    d\n"
    assert postings(text)[-1] == ("d", "-3 USD")


def test_an_open_posting_without_need_is_dropped():
    assert postings("    a  5 EUR\n    b  -5 EUR\n    c\n") == [("a", "5 EUR"), ("b", "-5 EUR")]


@pytest.mark.parametrize(
    "text",
    [
        "    a  5 EUR\n",
        "    a\n    b\n",
        "    a  5 EUR\n    b  -5 USD\n",
        "    a  5 EUR\n    b  -4.99 EUR\n",
    ],
    ids=["one", "two open", "currencies", "a cent"],
)
def test_refused(text):
    with pytest.raises(JournalError):
        postings(text)


JOURNAL = """\
2024-05-01 Bakery
    expenses:food  8.00 EUR
    assets:cash

2024-05-02 Burger
    expenses:foodtruck  9.00 EUR
    assets:cash

2024-05-03 Deli
    expenses:food:deli  7.00 EUR
    assets:cash
"""


@pytest.fixture
def run(tmp_path, capsys):
    (tmp_path / "j").write_text(JOURNAL)

    def call(*args):
        assert main(["--book", str(tmp_path / "book.jsonl"), *args]) == 0
        return capsys.readouterr().out

    call("import", str(tmp_path / "j"))
    return call


@pytest.mark.parametrize(
    ("prefix", "payees"),
    [
        ("expenses:food", ["Bakery", "Deli"]),
        ("expenses:food:deli", ["Deli"]),
        ("expenses:foodtruck", ["Burger"]),
        ("expenses", ["Bakery", "Burger", "Deli"]),
        ("exp", []),
        ("expenses:foo", []),
    ],
)
def test_register_keeps_to_the_account(run, prefix, payees):
    assert [line.split()[1] for line in run("register", prefix).splitlines()] == payees


def test_balance_keeps_to_the_account(run):
    assert "foodtruck" not in run("balance", "expenses:food")


def test_monthly_keeps_to_the_account(run):
    assert run("monthly", "expenses:food").split()[:3] == ["2024-05", "15.00", "EUR"]


def test_a_filled_journal_reads_back():
    entries = parse_journal("2024-05-03 Trip\n    a  3 USD\n    b  2 EUR\n    c\n")
    assert parse_journal(format_journal(entries)) == entries
