import pytest

from pennyledger import JournalError, format_journal, parse_journal

JOURNAL = """\
; May
2024-05-01 Bakery
    expenses:food  8.00 EUR
    assets:cash

2024-05-03 * Train
    expenses:travel  30.00 EUR  ; to Graz
    assets:cash  -30.00 EUR
"""


def test_parse():
    bakery, train = parse_journal(JOURNAL)
    assert bakery.payee == "Bakery"
    assert [str(posting.amount) for posting in bakery.postings] == ["8.00 EUR", "-8.00 EUR"]
    assert train.cleared and not bakery.cleared


def test_what_is_written_reads_back():
    entries = parse_journal(JOURNAL)
    assert parse_journal(format_journal(entries)) == entries


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("    a  1 EUR\n", 1),
        ("2024-05-01 x\n    a  1 EUR\n    b  2 EUR\n", 1),
        ("2024-05-01 x\n    a  1 EUR\n    b  what\n", 3),
        ("2024-13-01 x\n    a  1 EUR\n    b\n", 1),
    ],
)
def test_errors_name_the_line(text, line):
    with pytest.raises(JournalError) as caught:
        parse_journal(text)
    assert caught.value.line == line
