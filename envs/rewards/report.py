"""Putting the terms together: what an episode is worth."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic import ValidationError

from repodrome.envs.rewards.base import Reward, RewardContext, RewardPart, RewardReport
from repodrome.envs.rewards.registry import checked, make_reward
from repodrome.errors import UsageError
from repodrome.tasks.model import RewardSpec, Task

RewardLike = RewardSpec | str | Mapping[str, Any] | Reward | tuple[Reward | str, float]
"""What users may give for a term: a spec, a name, a table as in ``task.toml``, or an object; a name
or an object with its weight or with weight 1."""


class Term(NamedTuple):
    """One term of a total.

    Attributes:
        params: what the reward was made with, for the report.
        spec: the name that it was made by; ``""`` for an object.
    """

    reward: Reward
    weight: float
    params: Mapping[str, Any] = MappingProxyType({})
    spec: str = ""


def rewards_of(task: Task, *, training_step: int | None = None) -> list[tuple[Reward, float]]:
    """A task's rewards and their weights.

    Args:
        training_step: for weights that depend on it.

    Raises:
        UnknownNameError: no reward has that name.
        UsageError: a parameter or weight is wrong.
    """
    terms = terms_of(task.rewards, folder=task.folder, training_step=training_step)
    return [(term.reward, term.weight) for term in terms]


def terms_of(
    given: Iterable[RewardLike], *, folder: Path | None = None, training_step: int | None = None
) -> list[Term]:
    """The terms that are meant.

    Raises:
        UnknownNameError: no reward has that name.
        UsageError: a parameter or weight is wrong.
    """
    return [_term(one, folder, training_step) for one in given]


def _term(given: RewardLike, folder: Path | None, training_step: int | None) -> Term:
    spec = as_spec(given)
    if spec is not None:
        weight = spec.weight_at(training_step)
        reward = make_reward(spec, folder=folder)
        return Term(reward, _finite(spec.name, weight), spec.params, spec.name)
    if isinstance(given, tuple):
        one, weight = given
        return Term(checked(one, repr(one)), _finite(repr(one), weight))
    return Term(checked(given, repr(given)), 1.0)


def as_spec(given: RewardLike) -> RewardSpec | None:
    """The spec that is meant; None for an object.

    Raises:
        UsageError: a table is wrong.
    """
    if isinstance(given, RewardSpec):
        return given
    if isinstance(given, str):
        return RewardSpec(name=given)
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], str):
        given = {"name": given[0], "weight": given[1]}
    if isinstance(given, Mapping):
        try:
            return RewardSpec.model_validate(dict(given))
        except ValidationError as error:
            raise UsageError(f"reward {dict(given)!r}: {first_fault(error)}") from error
    return None


def first_fault(error: ValidationError) -> str:
    """The first thing that is wrong with a table, on one line."""
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg'].removeprefix('Value error, ')}"


def _finite(name: str, weight: float) -> float:
    if not math.isfinite(weight):
        raise UsageError(f"reward {name!r}: weight is {weight}; give a finite number")
    return weight


def score(
    context: RewardContext,
    rewards: Sequence[Term] | Iterable[tuple[Reward, float]],
    *,
    rules: str = "",
    training_step: int | None = None,
) -> RewardReport:
    """Score an episode: the sum of weight times value.

    An auxiliary term that would raise the total counts only where every execution reward is above
    0: style can't buy back a failure, but misuse still costs. Evidence of tampering voids a
    positive total.

    Args:
        context: the record.
        rewards: terms and weights, as from :func:`rewards_of` or :func:`terms_of`.
        rules: version of the rules file, for the report.
        training_step: for the report.

    Raises:
        ValueError: a reward gave what is no finite number.
    """
    scored = [(Term(*term), term[0](context)) for term in rewards]
    executed = [result.value for term, result in scored if not term.reward.auxiliary]
    succeeded = not executed or min(executed) > 0
    parts = []
    for term, result in scored:
        reward, weight = term.reward, term.weight
        if not math.isfinite(result.value):
            raise ValueError(f"reward {reward.name!r} gave {result.value}, which is no score")
        parts.append(
            RewardPart(
                name=reward.name,
                weight=weight,
                value=result.value,
                gated=reward.auxiliary and not succeeded and weight * result.value > 0,
                auxiliary=reward.auxiliary,
                parts=result.parts,
                notes=result.notes,
                spec="" if term.spec == reward.name else term.spec,
                params=dict(term.params),
            )
        )
    total = math.fsum(part.weight * part.value for part in parts if not part.gated)
    if context.verdict.tampering:
        total = min(total, 0.0)
    return RewardReport(
        total=total,
        rewards=tuple(parts),
        verdict=context.verdict,
        rules=rules,
        training_step=training_step,
        flags=context.flags,
    )
