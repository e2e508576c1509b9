import pytest

from pennyledger import Book, BookError, parse_journal

ENTRIES = parse_journal("2024-05-01 Café\n    a  1.10 EUR\n    b\n")


def test_round_trip(tmp_path):
    book = Book(tmp_path / "sub" / "book.jsonl")
    assert book.load() == []
    assert book.append(ENTRIES) == 1
    book.append(ENTRIES)
    assert book.load() == ENTRIES * 2


def test_a_broken_line_is_named(tmp_path):
    book = Book(tmp_path / "book.jsonl")
    book.append(ENTRIES)
    with book.path.open("a") as file:
        file.write("{}\n")
    with pytest.raises(BookError, match=":2:"):
        book.load()
