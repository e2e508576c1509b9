"""Reports, as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from pennyledger.model import Posting, Transaction
from pennyledger.money import Balance
from pennyledger.tags import matches


@dataclass(frozen=True)
class Selection:
    """Which postings a report is about."""

    prefix: str = ""
    start: date | None = None
    end: date | None = None
    tags: Sequence[tuple[str, str | None]] = ()

    def of(self, entries: Iterable[Transaction]) -> Iterator[tuple[Transaction, Posting]]:
        """The postings, by date, with their transactions."""
        for entry in sorted(entries, key=lambda entry: entry.day):
            if self.start is not None and entry.day < self.start:
                continue
            if self.end is not None and entry.day >= self.end:
                continue
            for posting in entry.postings:
                if posting.is_under(self.prefix) and matches(entry.tags_of(posting), self.tags):
                    yield entry, posting


def balance_report(entries: Iterable[Transaction], selection: Selection) -> str:
    """Each account with the sum of it and all below it, as a tree; sums of nothing are left out."""
    sums: dict[tuple[str, ...], Balance] = {}
    for _, posting in selection.of(entries):
        parts = tuple(posting.account.split(":"))
        for depth in range(1, len(parts) + 1):
            sums.setdefault(parts[:depth], Balance()).add(posting.amount)
    lines = []
    for parts in sorted(sums):
        amounts = list(sums[parts])
        for number, amount in enumerate(amounts):
            name = "  " * (len(parts) - 1) + parts[-1] if number == len(amounts) - 1 else ""
            lines.append(f"{amount!s:>16}  {name}".rstrip())
    return "\n".join(lines)


def register_report(entries: Iterable[Transaction], selection: Selection) -> str:
    """Each posting with the running total; one line for each currency of the total."""
    running = Balance()
    lines = []
    for entry, posting in selection.of(entries):
        running.add(posting.amount)
        head = f"{entry.day}  {entry.payee[:14]:<14}{posting.amount!s:>14}"
        totals = list(map(str, running)) or ["0"]
        lines.append(f"{head}{totals[0]:>15}")
        lines += [f"{total:>{len(head) + 15}}" for total in totals[1:]]
    return "\n".join(lines)


def monthly_report(entries: Iterable[Transaction], selection: Selection) -> str:
    """The sum of each month, months without any included, and a bar of one # for each ten percent
    of the largest month, in the first currency of the alphabet only."""
    months: dict[tuple[int, int], Balance] = {}
    for entry, posting in selection.of(entries):
        months.setdefault((entry.day.year, entry.day.month), Balance()).add(posting.amount)
    if not months:
        return ""
    year, month = min(months)
    every: list[tuple[int, int]] = []
    while (year, month) <= max(months):
        every.append((year, month))
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
    currencies = sorted({amount.currency for total in months.values() for amount in total})
    main = currencies[0] if currencies else ""
    heights = {
        key: sum(abs(a.quantity) for a in months.get(key, Balance()) if a.currency == main)
        for key in every
    }
    top = max(heights.values())
    lines = []
    for key in every:
        total = months.get(key, Balance())
        bar = "#" * int(heights[key] * 10 / top) if top else ""
        lines.append(f"{key[0]}-{key[1]:02}  {total!s:<24}{bar}".rstrip())
    return "\n".join(lines)
