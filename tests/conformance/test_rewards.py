"""Every built-in reward passes the suite that any reward must pass."""

from __future__ import annotations

from typing import Any

import pytest

from repodrome.envs.rewards.registry import _BUILTIN, make_reward
from repodrome.tasks.model import RewardSpec
from tests.conformance.reward_suite import CHECKS, Check

CASES = (
    ({"name": "answer", "patterns": ["tests", "pass"]}, 0.0, 1.0),
    ({"name": "answer", "patterns": ["x"], "unchanged": True}, 0.0, 1.0),
    ({"name": "retrieval"}, 0.0, 1.0),
    ({"name": "tests"}, 0.0, 1.0),
    ({"name": "tests", "mode": "fractional"}, 0.0, 1.0),
    ({"name": "style.lint"}, 0.0, 1.0),
    ({"name": "style.lint", "select": ["F", "B006"], "half": 1}, 0.0, 1.0),
    ({"name": "style.format"}, 0.0, 1.0),
    ({"name": "style.diff", "ignore": ["docs"]}, 0.0, 1.0),
    ({"name": "style.complexity"}, 0.0, 1.0),
    ({"name": "style.comments"}, 0.0, 1.0),
    ({"name": "misuse"}, -1.0, 0.0),
    ({"name": "misuse", "scope": ["src"], "weights": {"failed_call": 9}}, -1.0, 0.0),
    ({"name": "effort"}, 0.0, 1.0),
    ({"name": "effort", "q": 3, "k": 2, "weights": {"calls": 50}}, 0.0, 1.0),
    ({"name": "communication"}, -1.0, 0.0),
    ({"name": "communication.judge"}, 0.0, 1.0),
    ({"name": "integrity"}, -1.0, 0.0),
)


def test_every_builtin_reward_is_here() -> None:
    assert {spec["name"] for spec, _, _ in CASES} == set(_BUILTIN)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("spec", "low", "high"), CASES, ids=str)
def test_conforms(spec: dict[str, Any], low: float, high: float, check: Check) -> None:
    check(make_reward(RewardSpec.model_validate(spec)), low, high)
