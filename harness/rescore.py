"""Scoring stored episodes again, from their files alone, by their own terms or by new rules."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from repodrome.envs.rewards.base import RewardContext, RewardPart, RewardReport
from repodrome.envs.rewards.record import with_evidence
from repodrome.envs.rewards.report import Term, score, terms_of
from repodrome.envs.rewards.rules import Rules, read_rules
from repodrome.errors import UsageError
from repodrome.harness.trajectory import Recorded, read_trajectory
from repodrome.tasks.model import RewardSpec

CHUNK = 32
"""Files that a process takes at once; fewer than two chunks are scored in this process."""


@dataclass(frozen=True, slots=True)
class Rescored:
    """One episode, before and now.

    Attributes:
        report: the new one; None where the episode was left out.
        before, now: totals; 0.0 where left out.
        terms: name → what it counted for before, and now.
        skipped: why it was left out.
    """

    file: Path
    task: str = ""
    seed: int = 0
    before: float = 0.0
    now: float = 0.0
    terms: dict[str, tuple[float, float]] = field(default_factory=dict)
    report: RewardReport | None = None
    skipped: str = ""

    @property
    def difference(self) -> float:
        """Now less before."""
        return self.now - self.before

    @property
    def moved(self) -> bool:
        """The total or a term is another, by however little."""
        return self.before != self.now or bool(self.terms_moved)

    @property
    def terms_moved(self) -> list[tuple[str, float, float]]:
        """Name, before and now of each term that counts for something else."""
        return [(name, *pair) for name, pair in self.terms.items() if pair[0] != pair[1]]

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` prints for each episode."""
        return {
            "file": str(self.file),
            "task": self.task,
            "seed": self.seed,
            "before": None if self.skipped else self.before,
            "now": None if self.skipped else self.now,
            "terms": {name: list(pair) for name, pair in self.terms.items()},
            "rules": "" if self.report is None else self.report.rules,
            "skipped": self.skipped,
        }


@dataclass(frozen=True, slots=True)
class Summary:
    """What moved, over all.

    Attributes:
        terms: name → mean of what it counted for before, and now.
        skipped: reason → how many.
    """

    scored: int
    moved: int
    mean_before: float
    mean_now: float
    terms: dict[str, tuple[float, float]]
    skipped: dict[str, int]
    rules: str = ""

    def __str__(self) -> str:
        by = f" by rules {self.rules}" if self.rules else " by their own terms"
        return f"{self.scored} episodes scored{by}; {self.moved} moved"

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` prints beside the episodes."""
        return {
            "scored": self.scored,
            "moved": self.moved,
            "mean_before": self.mean_before,
            "mean_now": self.mean_now,
            "terms": {name: list(pair) for name, pair in self.terms.items()},
            "rules": self.rules,
            "skipped": self.skipped,
        }


def trajectory_files(runs: Sequence[Path]) -> list[Path]:
    """The files that are meant: files as they are, and every ``.jsonl`` below a directory.

    Raises:
        UsageError: there is none.
    """
    found: list[Path] = []
    for path in runs:
        found += sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]
    if not found:
        names = ", ".join(map(str, runs))
        raise UsageError(f"no trajectory (.jsonl) in {names}; give what `repodrome run` wrote to")
    return found


def rescore_all(
    runs: Sequence[Path],
    *,
    rules: Path | None = None,
    training_step: int | None = None,
    jobs: int = 1,
) -> list[Rescored]:
    """Score stored episodes again.

    Args:
        runs: files, or directories of them.
        rules: a rules file; default: the terms that each episode was scored by.
        training_step: for scheduled weights; default: the one in each report.
        jobs: processes.

    Raises:
        UsageError: no files, a file that is no trajectory, or wrong rules.
        InfraError: evidence had to be gathered, and a linter or judge failed.
    """
    files = trajectory_files(runs)
    made = None if rules is None else read_rules(rules.absolute())
    one = partial(_rescore_file, rules=made, training_step=training_step)
    if jobs == 1 or len(files) < 2 * CHUNK:
        return [one(file) for file in files]
    # Forking is at hand at once, but no way to go for a process with threads.
    how = "fork" if threading.active_count() == 1 else "spawn"
    with ProcessPoolExecutor(jobs, mp_context=get_context(how)) as pool:
        return list(pool.map(one, files, chunksize=CHUNK))


def _rescore_file(file: Path, *, rules: Rules | None, training_step: int | None) -> Rescored:
    return rescore(file, read_trajectory(file), rules=rules, training_step=training_step)


def rescore(
    file: Path,
    recorded: Recorded,
    *,
    rules: Rules | None = None,
    training_step: int | None = None,
) -> Rescored:
    """Score one stored episode again.

    Raises:
        InfraError: evidence had to be gathered, and a linter or judge failed.
    """
    left_out = partial(Rescored, file, recorded.header.task_id, recorded.header.seed)
    try:
        context = recorded.context()
        if context is None or recorded.end is None or recorded.end.report is None:
            return left_out(skipped=_why_not(recorded))
        old = recorded.end.report
        step = old.training_step if training_step is None else training_step
        terms = _terms(context, old, rules, step)
    except UsageError as error:
        return left_out(skipped=str(error))
    context = with_evidence(context, (term.reward for term in terms))
    report = score(
        context,
        terms,
        rules=old.rules if rules is None else rules.version,
        training_step=step,
    )
    before, now = _counts(old.rewards), _counts(report.rewards)
    names = [*before, *(name for name in now if name not in before)]
    return Rescored(
        file=file,
        task=recorded.header.task_id,
        seed=recorded.header.seed,
        before=old.total or 0.0,
        now=report.total or 0.0,
        terms={name: (before.get(name, 0.0), now.get(name, 0.0)) for name in names},
        report=report,
    )


def _why_not(recorded: Recorded) -> str:
    if recorded.end is None:
        return "unfinished: its writer died, or is still playing"
    if recorded.end.infra_error:
        return "infra-failed"
    return "never scored"


def _terms(
    context: RewardContext, old: RewardReport, rules: Rules | None, step: int | None
) -> list[Term]:
    task = context.task
    if rules is not None:
        return rules.terms(task, task.rewards, step)
    # Most episodes of a run are scored by the same terms: made once.
    specs = [spec.model_dump() for spec in recorded_specs(old)]
    return _terms_once(json.dumps(specs, sort_keys=True), task.folder)


def recorded_specs(report: RewardReport) -> list[RewardSpec]:
    """The terms that an episode was scored by, each with the weight that it had then."""
    return [
        RewardSpec.model_validate(
            {**part.params, "name": part.spec or part.name, "weight": part.weight}
        )
        for part in report.rewards
    ]


@lru_cache(maxsize=256)
def _terms_once(specs: str, folder: Path) -> list[Term]:
    return terms_of(map(RewardSpec.model_validate, json.loads(specs)), folder=folder)


def _counts(parts: Sequence[RewardPart]) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in parts:
        counted = 0.0 if part.gated else part.weight * part.value
        found[part.name] = found.get(part.name, 0.0) + counted
    return found


def summary(found: Sequence[Rescored]) -> Summary:
    """What moved, over all that were scored."""
    scored = [one for one in found if not one.skipped]
    names = dict.fromkeys(name for one in scored for name in one.terms)
    return Summary(
        scored=len(scored),
        moved=sum(one.moved for one in scored),
        mean_before=_mean([one.before for one in scored]),
        mean_now=_mean([one.now for one in scored]),
        terms={
            name: (
                _mean([one.terms.get(name, (0.0, 0.0))[0] for one in scored]),
                _mean([one.terms.get(name, (0.0, 0.0))[1] for one in scored]),
            )
            for name in names
        },
        skipped=dict(Counter(one.skipped for one in found if one.skipped)),
        rules=next((o.report.rules for o in scored if o.report is not None), ""),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
