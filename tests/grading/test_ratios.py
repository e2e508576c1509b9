"""What repeated timings are worth."""

from __future__ import annotations

import pytest

from repodrome.envs.grading.ratios import median_interval, score, settled


@pytest.mark.parametrize(
    ("count", "skipped"),
    # Tables of the sign test's interval at 95 %: which values from each end bound it.
    [(5, 0), (6, 0), (8, 0), (9, 1), (11, 1), (12, 2), (15, 3), (20, 5), (25, 7)],
)
def test_the_interval_of_a_median(count: int, skipped: int) -> None:
    values = [float(n) for n in range(count)]
    assert median_interval(values[::-1]) == (skipped, count - 1 - skipped)


def test_the_score_is_bounded_and_falls_by_factors() -> None:
    def of(ratio: float) -> float:
        """Where the unmodified program takes 40 times the reference's time."""
        return score(ratio, 40 / ratio, 2.0)

    assert of(0.2) == of(2.0) == 1.0
    assert of(8.0) == pytest.approx(0.5)  # half-way from 2 to 32, by factors
    assert of(32.0) == of(90.0) == 0.0
    falling = [of(2 + n / 10) for n in range(320)]
    assert falling == sorted(falling, reverse=True)


@pytest.mark.parametrize(
    ("ratios", "enough"),
    [
        ([1.0, 1.1, 1.2, 1.0], False),  # too few
        ([1.0, 1.3, 1.2, 1.4, 1.1], True),  # all of it earns everything
        ([9.0, 30.0, 12.0, 15.0, 9.5], True),  # all of it earns nothing
        ([2.00, 2.02, 2.04, 1.98, 1.99], True),  # narrow
        ([2.0, 2.5, 3.0, 2.0, 2.2], False),  # wide
        ([1.49, 1.5, 1.51, 1.5, 1.5], False),  # narrow, and across the target
    ],
)
def test_when_more_rounds_would_change_nothing(ratios: list[float], enough: bool) -> None:
    assert settled(ratios, [10.0 / ratio for ratio in ratios[:3]], 1.5) is enough
