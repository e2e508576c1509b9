"""Amounts of money, exact."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

from pennyledger.errors import JournalError

_AMOUNT = re.compile(r"([-+]?)(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?\s*([A-Z]{3,})")


@dataclass(frozen=True)
class Amount:
    """A quantity of one currency."""

    quantity: Decimal
    currency: str

    @classmethod
    def parse(cls, text: str) -> Amount:
        """Read e.g. ``-1,250.50 EUR``.

        Raises:
            JournalError: it isn't an amount.
        """
        match = _AMOUNT.fullmatch(text.strip())
        if match is None:
            raise JournalError(f"not an amount: {text.strip()!r}")
        sign, whole, fraction, currency = match.groups()
        return cls(Decimal(sign + whole.replace(",", "") + (fraction or "")), currency)

    def __str__(self) -> str:
        return f"{self.quantity:f} {self.currency}"

    def __neg__(self) -> Amount:
        return Amount(-self.quantity, self.currency)


class Balance:
    """A sum of amounts, by currency. What sums to zero isn't there."""

    def __init__(self, amounts: Iterable[Amount] = ()) -> None:
        self._sums: dict[str, Decimal] = {}
        for amount in amounts:
            self.add(amount)

    def add(self, amount: Amount) -> None:
        """Add one amount."""
        total = self._sums.get(amount.currency, Decimal()) + amount.quantity
        if total:
            self._sums[amount.currency] = total
        else:
            self._sums.pop(amount.currency, None)

    def merge(self, other: Balance) -> None:
        """Add another balance."""
        for amount in other:
            self.add(amount)

    def copy(self) -> Balance:
        """An independent copy."""
        return Balance(self)

    def __iter__(self) -> Iterator[Amount]:
        for currency in sorted(self._sums):
            yield Amount(self._sums[currency], currency)

    def __bool__(self) -> bool:
        return bool(self._sums)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Balance) and self._sums == other._sums

    def __str__(self) -> str:
        return ", ".join(map(str, self)) or "0"


def allocate(amount: Amount, weights: Sequence[Decimal | int]) -> list[Amount]:
    """Split an amount by weights, to the last digit that it has.

    The parts sum to the amount exactly. Each is its share rounded towards zero; what is left over goes,
    one last digit at a time, to the parts that lost most by rounding, the earlier one of equals first.

    Raises:
        ValueError: there are no weights, a negative one, or all are zero.
    """
    total = sum(weights)
    if not weights or min(weights) < 0 or not total:
        raise ValueError("weights must not be negative, and not all zero")
    unit = Decimal(1).scaleb(amount.quantity.as_tuple().exponent)
    shares = [amount.quantity * Decimal(weight) / Decimal(total) for weight in weights]
    parts = [share.quantize(unit, ROUND_DOWN) for share in shares]
    left = amount.quantity - sum(parts)
    step = unit.copy_sign(left)
    losses = [abs(share - part) for share, part in zip(shares, parts, strict=True)]
    for at in sorted(range(len(parts)), key=lambda at: -losses[at])[: int(left / step)]:
        parts[at] += step
    return [Amount(part, amount.currency) for part in parts]
