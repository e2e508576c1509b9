"""Plain-text double-entry bookkeeping."""

from pennyledger.errors import BookError, JournalError, LedgerError
from pennyledger.journal import format_journal, parse_journal
from pennyledger.model import Posting, Transaction
from pennyledger.money import Amount, Balance, allocate
from pennyledger.store import Book

__all__ = [
    "Amount",
    "Balance",
    "Book",
    "BookError",
    "JournalError",
    "LedgerError",
    "Posting",
    "Transaction",
    "allocate",
    "format_journal",
    "parse_journal",
]
