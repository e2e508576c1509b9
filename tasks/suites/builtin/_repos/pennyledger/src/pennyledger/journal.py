"""The journal format; the reference is docs/format.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date

from pennyledger.errors import JournalError
from pennyledger.model import Posting, Transaction, complete
from pennyledger.money import Amount
from pennyledger.tags import format_tags, parse_tags

_HEAD = re.compile(r"(\d{4}-\d{2}-\d{2})\s+(\*\s+)?(.+)")
_COMMENT = re.compile(r"(?:^|\s+);(.*)$")
_AMOUNT_COLUMN = 40


def parse_day(text: str) -> date:
    """A date as ``YYYY-MM-DD``."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise JournalError(f"not a date: {text!r}") from None


def _split_comment(line: str) -> tuple[str, str]:
    match = _COMMENT.search(line)
    # The first semicolon that begins a comment counts, later ones are part of it.
    if match is None:
        return line.rstrip(), ""
    return line[: match.start()].rstrip(), match.group(1).strip()


def _posting(text: str, comment: str) -> tuple[str, Amount | None, dict[str, str]]:
    account, _, rest = text.strip().partition("  ")
    amount = Amount.parse(rest) if rest.strip() else None
    return account, amount, parse_tags(comment)


def _blocks(text: str) -> Iterator[list[tuple[int, str, str]]]:
    """(line number, text, comment) of the lines of each transaction."""
    block: list[tuple[int, str, str]] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line, comment = _split_comment(raw)
        if not line:
            # A line that is only a comment doesn't end a transaction; an empty one does.
            if block and not comment and not raw.strip():
                yield block
                block = []
            continue
        if not line[0].isspace():
            if block:
                yield block
            block = []
        elif not block:
            raise JournalError("a posting without a transaction", number)
        block.append((number, line, comment))
    if block:
        yield block


def _transaction(block: list[tuple[int, str, str]]) -> Transaction:
    number, head, comment = block[0]
    try:
        match = _HEAD.fullmatch(head)
        if match is None:
            raise JournalError(f"not a transaction: {head!r}")
        day, star, payee = match.groups()
        entries = []
        for number, line, note in block[1:]:
            entries.append(_posting(line, note))
        number = block[0][0]
        return Transaction(
            parse_day(day), payee, complete(entries), bool(star), parse_tags(comment)
        )
    except JournalError as error:
        raise JournalError(error.message, number) from None


def parse_journal(text: str) -> list[Transaction]:
    """Read a journal.

    Raises:
        JournalError: with the line at fault.
    """
    return [_transaction(block) for block in _blocks(text)]


def _with_tags(line: str, tags: Mapping[str, str]) -> str:
    return f"{line}  ; {format_tags(tags)}" if tags else line


def _format_posting(posting: Posting) -> str:
    amount = str(posting.amount)
    left = f"    {posting.account}  "
    return _with_tags(f"{left.ljust(_AMOUNT_COLUMN)}{amount}", posting.tags)


def format_journal(transactions: Iterable[Transaction]) -> str:
    """Write a journal that reads back the same."""
    blocks = []
    for entry in sorted(transactions, key=lambda entry: entry.day):
        mark = "* " if entry.cleared else ""
        head = _with_tags(f"{entry.day.isoformat()} {mark}{entry.payee}", entry.tags)
        blocks.append("\n".join([head, *map(_format_posting, entry.postings)]) + "\n")
    return "\n".join(blocks)
