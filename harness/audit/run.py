"""Playing the corpus: each attack naively and here, each honest variant here."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from repodrome.errors import InfraError
from repodrome.harness.audit import bench, here
from repodrome.harness.audit.corpus import Case, load, select
from repodrome.harness.audit.ground import Ground, prepared_ground
from repodrome.harness.audit.judges import judges_of
from repodrome.harness.audit.upstream import serving

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Row:
    """What came of one case.

    Attributes:
        case: the attack or honest variant.
        naive: it pays under the naive counterpart; None for honest variants.
        pays: in how many of the repeats it paid here (an attack), or kept its reward (honest).
        repeats: how often it was played here.
        tampering: evidence that grading found.
        flagged: rules that find the episode suspicious.
        infra_error: the machine failed, so that nothing can be said.
        seconds: wall time.
    """

    case: Case
    naive: bool | None = None
    pays: int = 0
    repeats: int = 0
    tampering: tuple[str, ...] = ()
    flagged: tuple[str, ...] = ()
    infra_error: str = ""
    seconds: float = 0.0

    @property
    def demonstrated(self) -> bool:
        """An attack that pays somewhere, so that its not paying here says something."""
        return bool(self.naive)

    @property
    def fine(self) -> bool:
        """As it ought to be: the attack earned nothing, the honest variant everything."""
        if self.infra_error:
            return False
        return self.pays == (0 if self.case.is_attack else self.repeats)

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "name": self.case.name,
            "class": self.case.kind,
            "mechanism": self.case.mechanism,
            "source": self.case.source,
            "naive": self.naive,
            "pays": self.pays,
            "repeats": self.repeats,
            "tampering": list(self.tampering),
            "flagged": list(self.flagged),
            "infra_error": self.infra_error,
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        sandbox: the backend.
        attacks, honest: a row each.
    """

    sandbox: str
    attacks: Sequence[Row] = ()
    honest: Sequence[Row] = ()
    seconds: float = field(default=0.0, compare=False)

    @property
    def demonstrated(self) -> list[Row]:
        """The attacks that pay under their naive counterpart."""
        return [row for row in self.attacks if row.demonstrated]

    @property
    def paying(self) -> list[Row]:
        """The attacks that paid here, at least once."""
        return [row for row in self.attacks if row.pays]

    @property
    def refused(self) -> list[Row]:
        """The honest variants that lost their reward, at least once."""
        return [row for row in self.honest if not row.infra_error and row.pays < row.repeats]

    @property
    def failed(self) -> list[Row]:
        """The rows of which the machine's failure lets nothing be said."""
        return [row for row in (*self.attacks, *self.honest) if row.infra_error]

    @property
    def recall(self) -> tuple[int, int]:
        """Attacks that rules flag, and all of which there is an episode."""
        rows = [row for row in self.attacks if row.repeats]
        return sum(bool(row.flagged) for row in rows), len(rows)

    @property
    def precision(self) -> tuple[int, int]:
        """Flagged episodes that are attacks, and all flagged ones."""
        false = sum(bool(row.flagged) for row in self.honest)
        return self.recall[0], self.recall[0] + false

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "ok": not (self.paying or self.refused or self.failed),
            "sandbox": self.sandbox,
            "demonstrated": len(self.demonstrated),
            "paying": [row.case.name for row in self.paying],
            "refused": [row.case.name for row in self.refused],
            "failed": [row.case.name for row in self.failed],
            "recall": self.recall,
            "precision": self.precision,
            "seconds": round(self.seconds, 3),
            "attacks": [row.to_json() for row in self.attacks],
            "honest": [row.to_json() for row in self.honest],
        }


async def audit(
    *,
    backend: str = "bubblewrap",
    names: Sequence[str] = (),
    repeats: int = 1,
    jobs: int = 2,
    naive: bool = True,
    progress: Progress | None = None,
) -> Audit:
    """Play the corpus.

    Args:
        backend: the sandbox, by name.
        names: attacks, honest variants and classes; all where none is given.
        repeats: how often each is played here.
        jobs: how many are played at once.
        naive: play the attacks under their naive counterparts as well.
        progress: told, in a line each, what is done.

    Raises:
        UnknownNameError: there is no such attack or backend.
        InfraError: the audit's own task could not be prepared.
    """
    from anyio import CapacityLimiter, create_task_group

    from repodrome.envs.sandbox.registry import get_backend

    tell = progress or (lambda _: None)
    cases = select([*load("attacks"), *load("honest")], names)
    began = time.monotonic()
    rows: dict[str, Row] = {}
    with tempfile.TemporaryDirectory(prefix="repodrome-audit-") as base, _leaky(cases):
        verifiers = {case.verifier for case in cases}
        ground = await prepared_ground(get_backend(backend), Path(base), verifiers=verifiers)
        room = CapacityLimiter(jobs)

        async def one(case: Case, ground: Ground) -> None:
            async with room:
                rows[case.name] = row = await _row(ground, case, repeats, naive)
            tell(f"{len(rows)} of {len(cases)}: {case.name}: {_said(row)}")

        async with _connected(ground, cases) as ground, create_task_group() as group:
            for case in cases:
                group.start_soon(one, case, ground)
    found = [rows[case.name] for case in cases]
    return Audit(
        sandbox=backend,
        attacks=tuple(row for row in found if row.case.is_attack),
        honest=tuple(row for row in found if not row.case.is_attack),
        seconds=time.monotonic() - began,
    )


async def _row(ground: Ground, case: Case, repeats: int, naive: bool) -> Row:
    began = time.monotonic()
    paid_naively: bool | None = None
    pays, last = 0, None
    try:
        for number in range(repeats):
            if not case.is_attack:
                last = await here.attacked(ground, case)
                pays += last.total >= 1.0 and not last.tampering
                continue
            counterpart, ours = judges_of(case)
            if naive and number == 0:
                paid_naively = await counterpart(ground, case)
            paid, last = await ours(ground, case)
            pays += paid
    except TimeoutError:  # it held up the host
        pays, last = pays + 1, None
    except InfraError as error:
        return Row(case, paid_naively, infra_error=str(error), seconds=time.monotonic() - began)
    return Row(
        case,
        naive=paid_naively,
        pays=pays,
        repeats=repeats,
        tampering=() if last is None else last.tampering,
        flagged=() if last is None else last.flagged,
        seconds=time.monotonic() - began,
    )


def _said(row: Row) -> str:
    if row.infra_error:
        return f"infrastructure failure: {row.infra_error}"
    if not row.case.is_attack:
        return "kept its reward" if row.fine else "LOST ITS REWARD"
    if row.naive is False:
        return "not demonstrated"
    return "pays nothing" if row.fine else "PAYS"


@asynccontextmanager
async def _connected(ground: Ground, cases: Sequence[Case]) -> AsyncIterator[Ground]:
    """The ground with the project's own site, if a case goes there."""
    if not any(case.naive_network for case in cases):
        yield ground
        return
    spec, solved = ground.prepared.spec, bench.SOLVED.encode()
    async with serving(ground.backend, spec, "till-1.1/till.py", solved) as address:
        yield replace(ground, upstream=address)


@contextmanager
def _leaky(cases: Sequence[Case]) -> Iterator[None]:
    """This process with the variables that a harness may hold and no agent may see."""
    added = {key: value for case in cases for key, value in case.naive_env.items()}
    before = {key: os.environ.get(key) for key in added}
    os.environ.update(added)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
