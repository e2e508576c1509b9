"""Books: files of one JSON object a line, only ever appended to."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from pennyledger.errors import BookError, JournalError
from pennyledger.model import Posting, Transaction
from pennyledger.money import Amount


def _posting_to_json(posting: Posting) -> dict[str, Any]:
    data: dict[str, Any] = {
        "account": posting.account,
        "quantity": str(posting.amount.quantity),
        "currency": posting.amount.currency,
    }
    if posting.tags:
        data["tags"] = dict(posting.tags)
    return data


def _to_json(entry: Transaction) -> dict[str, Any]:
    data: dict[str, Any] = {
        "day": entry.day.isoformat(),
        "payee": entry.payee,
        "cleared": entry.cleared,
        "postings": [_posting_to_json(posting) for posting in entry.postings],
    }
    if entry.tags:
        data["tags"] = dict(entry.tags)
    return data


def _posting_from_json(data: dict[str, Any]) -> Posting:
    amount = Amount(Decimal(data["quantity"]), data["currency"])
    return Posting(data["account"], amount, data.get("tags", {}))


def _from_json(data: dict[str, Any]) -> Transaction:
    return Transaction(
        date.fromisoformat(data["day"]),
        data["payee"],
        tuple(_posting_from_json(posting) for posting in data["postings"]),
        data.get("cleared", False),
        data.get("tags", {}),
    )


class Book:
    """A book in a file that needn't be there yet."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def append(self, entries: Iterable[Transaction]) -> int:
        """Add transactions, all or none; returns how many."""
        lines = [json.dumps(_to_json(entry), ensure_ascii=False) + "\n" for entry in entries]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(lines))
        return len(lines)

    def load(self) -> list[Transaction]:
        """All transactions, in the order in which they were added.

        Raises:
            BookError: naming the line that can't be read.
        """
        if not self.path.exists():
            return []
        entries = []
        lines = self.path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, 1):
            try:
                entries.append(_from_json(json.loads(line)))
            except (ValueError, KeyError, TypeError, InvalidOperation, JournalError) as error:
                raise BookError(f"{self.path}:{number}: {error}") from error
        return entries
