from decimal import Decimal

import pytest

from pennyledger import Amount, Balance, JournalError, allocate


@pytest.mark.parametrize(
    ("text", "quantity"), [("8.00 EUR", "8.00"), ("-1,250.50 EUR", "-1250.50"), ("3EUR", "3")]
)
def test_parse(text, quantity):
    assert Amount.parse(text) == Amount(Decimal(quantity), "EUR")


@pytest.mark.parametrize("text", ["", "8.00", "EUR", "8.00 eur", "1,2 EUR", "1.2.3 EUR"])
def test_not_an_amount(text):
    with pytest.raises(JournalError):
        Amount.parse(text)


def test_a_balance_keeps_currencies_apart():
    made = Balance([Amount.parse("1 EUR"), Amount.parse("2 USD"), Amount.parse("-1 EUR")])
    assert str(made) == "2 USD"


def test_allocate():
    parts = allocate(Amount.parse("10.00 EUR"), [1, 1, 1])
    assert [str(part) for part in parts] == ["3.34 EUR", "3.33 EUR", "3.33 EUR"]
