"""Transactions and their postings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

from pennyledger.errors import JournalError
from pennyledger.money import Amount, Balance

_ACCOUNT = re.compile(r"[^\W_][\w -]*(?::[^\W_][\w -]*)*")


@dataclass(frozen=True)
class Posting:
    """Money that goes to an account, or comes from it if negative."""

    account: str
    amount: Amount
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _ACCOUNT.fullmatch(self.account):
            raise JournalError(f"not an account: {self.account!r}")

    def is_under(self, prefix: str) -> bool:
        """Is the account ``prefix`` or below it?"""
        return not prefix or self.account == prefix or self.account.startswith(prefix + ":")


@dataclass(frozen=True)
class Transaction:
    """Postings that balance."""

    day: date
    payee: str
    postings: tuple[Posting, ...]
    cleared: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        off = Balance(posting.amount for posting in self.postings)
        if off:
            raise JournalError(f"{self.payee!r} is out of balance by {off}")

    def tags_of(self, posting: Posting) -> dict[str, str]:
        """The tags of a posting and of the transaction."""
        merged = dict(self.tags)
        for name, value in posting.tags.items():
            if value or name not in merged:
                merged[name] = value
        return merged


def complete(
    given: Iterable[tuple[str, Amount | None, Mapping[str, str]]],
) -> tuple[Posting, ...]:
    """Postings from (account, amount, tags), one of which may lack its amount.

    Raises:
        JournalError: fewer than two postings, or more than one without an amount.
    """
    entries = list(given)
    if len(entries) < 2:
        raise JournalError("a transaction needs two postings")
    if sum(amount is None for _, amount, _ in entries) > 1:
        raise JournalError("only one posting may lack its amount")
    off = Balance(amount for _, amount, _ in entries if amount is not None)
    postings: list[Posting] = []
    for account, amount, tags in entries:
        fills = [amount] if amount is not None else [-missing for missing in off]
        postings += [Posting(account, fill, tags) for fill in fills]
    return tuple(postings)
