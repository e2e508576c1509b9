"""What repeated timings are worth: a median with its interval, and a bounded score.

The interval is the one of order statistics, which supposes nothing about how times are spread:
between the k-th smallest and the k-th largest of n values lies the median with a probability of
1 - 2·P(B < k), B binomial (n, 1/2). See H. A. David and H. N. Nagaraja, Order Statistics, §7.1.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

LEAST_ROUNDS = 5
"""Fewer values give no interval worth the name: with five it is 93.75 %."""
NARROW = 0.05
"""An interval is narrow enough when it reaches no further than this share from the median."""
WORTH_NAMING = 0.8
"""Up to this share of the unmodified program's time a change earns nothing: it may be noise."""
_MISSED = 0.05  # probability that the median lies outside


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Between which values the median lies, with 95 % where there are at least six values."""
    ordered, count = sorted(values), len(values)
    skip, below = 0, 1 / 2**count
    while True:
        below += math.comb(count, skip + 1) / 2**count
        if 2 * below > _MISSED or 2 * (skip + 1) >= count:
            break
        skip += 1
    return ordered[skip], ordered[-1 - skip]


def score(ratio: float, speedup: float, target: float) -> float:
    """What a time is worth, in [0, 1].

    1 up to ``target``, 0 from 0.8 × the unmodified program's time on, and in between by the
    logarithm of the time, so that each halving of it is worth the same:
    ``ln(0.8·speedup) / ln(0.8·speedup·ratio / target)``.

    Args:
        ratio: the time as a multiple of the reference's.
        speedup: the unmodified program's time as a multiple of it.
        target: a ratio that is worth everything.
    """
    if ratio <= target:
        return 1.0
    gained = WORTH_NAMING * speedup
    return math.log(gained) / math.log(gained * ratio / target) if gained > 1 else 0.0


def settled(ratios: Sequence[float], speedups: Sequence[float], target: float) -> bool:
    """Whether more rounds would hardly change the score."""
    if len(ratios) < LEAST_ROUNDS:
        return False
    low, high = median_interval(ratios)
    if high <= target:
        return True
    if low <= target:  # it is open whether all is earned
        return False
    middle = statistics.median(ratios)
    narrow = max(high - middle, middle - low) <= NARROW * middle
    return narrow or all(WORTH_NAMING * speedup <= 1 for speedup in speedups)
