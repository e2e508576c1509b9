"""The episode: one task played once in one sandbox. Every other face is a thin shell on it.

Errors keep to their lanes. What the agent did wrong is an observation. What the machine did wrong
makes the episode infra-failed: :meth:`Episode.step` says so in ``stop_reason`` and
:meth:`Episode.score` in its report, never as a reward of 0. What the caller did wrong raises
:class:`~repodrome.errors.UsageError`; what we did wrong propagates.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from repodrome.envs.environment import Prepared, prepare
from repodrome.envs.events import Event, EventHandler
from repodrome.envs.facts import EpisodeFacts
from repodrome.envs.gate import Gate
from repodrome.envs.play import Play
from repodrome.envs.record import Record
from repodrome.envs.rewards.base import RewardContext, RewardReport
from repodrome.envs.sandbox.base import Change, Sandbox, SandboxBackend, SandboxSpec, Snapshot
from repodrome.envs.scoring import score_change
from repodrome.envs.setting import Setting, settle
from repodrome.envs.tokens import Tokenizer
from repodrome.envs.trajectory import AssistantTurn, Step
from repodrome.envs.user import SimulatedUser
from repodrome.errors import InfraError, UsageError
from repodrome.tasks.model import Task
from repodrome.tools.base import ToolState

if TYPE_CHECKING:
    from pathlib import Path

    from repodrome.envs.rewards.report import RewardLike
    from repodrome.envs.rewards.rules import RulesFile
    from repodrome.envs.rewards.steps import StepScorer


@dataclass(frozen=True, slots=True)
class EpisodeSnapshot:
    """An episode at one moment: the sandbox, what tools remember, what has happened."""

    sandbox: Snapshot
    state: ToolState
    record: Record

    async def release(self) -> None:
        """Give the sandbox snapshot's space back; idempotent."""
        await self.sandbox.release()


class Episode(EpisodeFacts):
    """One task played once. Make it with :meth:`start`; an async context manager that closes it.

    Attributes:
        task: what it is about.
        seed: of the episode; members of a group share it.
        backend: what made its sandbox.
        sandbox: the agent's sandbox.
        change: the agent's change, once :meth:`score` has exported it.
        training_step: the trainer's step, on which weights may depend; looked at by :meth:`score`.
        scored: all that the rewards looked at, once :meth:`score` has a report.
    """

    def __init__(
        self,
        setting: Setting,
        prepared: Prepared,
        sandbox: Sandbox,
        *,
        training_step: int | None = None,
        on_event: EventHandler | None = None,
    ) -> None:
        self._gate = Gate()
        play = Play(setting, prepared, sandbox, self._gate, on_event)
        super().__init__(setting, play)
        self.sandbox = sandbox
        self.change: Change | None = None
        self.training_step = training_step
        self.scored: RewardContext | None = None
        self._prepared = prepared
        self._on_event = on_event
        self._seconds = {"prepare": 0.0, "start": 0.0, "score": 0.0}
        self._report: RewardReport | None = None
        self._score_lock = asyncio.Lock()
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls,
        task: Task | str,
        *,
        seed: int = 0,
        backend: SandboxBackend | str = "bubblewrap",
        context_budget: int | None = None,
        tokenizer: Tokenizer | str | None = None,
        rewards: Sequence[RewardLike] | None = None,
        rules: RulesFile | Path | str | None = None,
        training_step: int | None = None,
        user: SimulatedUser | None = None,
        on_event: EventHandler | None = None,
    ) -> Episode:
        """Prepare the task's environment (cached) and start a sandbox with it.

        Args:
            task: the task, or a reference to it: ``suite/name`` or the path of a folder.
            seed: for everything random in the episode and its grading.
            backend: the sandbox backend, or its name.
            context_budget: tokens that the context may hold, 0 without bound; default: the task's.
            tokenizer: counts them: a function of a text, or a name; default: the task's.
            rewards: the reward terms, as specs, names, tables or objects; default: the task's own.
            rules: a rules file, which changes them; read again when the episode is scored.
            training_step: the trainer's step, for weights with a schedule.
            user: who is asked after each turn; default: the task's own simulated user, if any.
            on_event: told what happens as it happens, on the event loop; keep it quick.

        Raises:
            UsageError: unknown task, backend, tool, reward or tokenizer, a bad task folder, or a
                context budget that the task's prompt doesn't fit into.
            InfraError: the environment could not be built or the sandbox not started.
        """
        setting = settle(
            task,
            seed=seed,
            backend=backend,
            context_budget=context_budget,
            tokenizer=tokenizer,
            rewards=rewards,
            rules=rules,
            user=user,
        )

        def progress(line: str) -> None:
            if on_event is not None:
                on_event(Event("progress", text=line))

        began = time.monotonic()
        prepared = await prepare(setting.task, setting.backend, progress=progress)
        ready = time.monotonic()
        sandbox = await setting.backend.start(prepared.spec)
        episode = cls(setting, prepared, sandbox, training_step=training_step, on_event=on_event)
        now = time.monotonic()
        episode._seconds["prepare"] = ready - began
        episode._seconds["start"] = now - ready
        episode._emit(Event("segment", opening=episode._record.openings[0]))
        episode._emit(Event("started", seconds=now - began))
        return episode

    @property
    def spec(self) -> SandboxSpec:
        """What its sandbox is made of; the same object for every episode of the task."""
        return self._prepared.spec

    @property
    def closed(self) -> bool:
        """:meth:`close` was called."""
        return self._gate.is_shut

    @property
    def timings(self) -> dict[str, float]:
        """Seconds, by phase: ``prepare``, ``start``, ``steps``, ``score``."""
        return {**self._seconds, "steps": self._play.seconds}

    @property
    def report(self) -> RewardReport | None:
        """What :meth:`score` found, once it has."""
        return self._report

    # -- playing --------------------------------------------------------------------------------

    async def step(self, turn: AssistantTurn | Mapping[str, Any] | str) -> Step:
        """Play one agent turn; whatever the agent did wrong comes back as an observation.

        Where :attr:`summary_wanted`, the turn is taken for the summary and nothing is run.

        Cancelling it ends the episode (``stop_reason`` ``"closed"``): what the interrupted call did
        to the sandbox is not known.

        Args:
            turn: the agent's turn, in any form of :mod:`repodrome.envs.actions`.

        Raises:
            UsageError: the episode is over, closed, or another step is running.
            TypeError: ``turn`` is of no type that an agent can have produced.
        """
        return await self._play.turn(turn)

    def out_of_context(self) -> None:
        """Truncate it (``stop_reason`` ``"max_context"``): its context is larger than the agent's
        model can read. Score it next. Does nothing where it is over already.

        Raises:
            UsageError: a step is running, or the episode was closed.
        """
        self._gate.check("end the episode")
        if self._record.stop_reason is None:
            self._record.stop_reason = "max_context"
            self._emit(Event("stopped", stop_reason="max_context"))

    # -- scoring --------------------------------------------------------------------------------

    async def score(self) -> RewardReport:
        """Freeze the sandbox, grade the agent's change in a fresh one, and compute the rewards.

        Ends an episode that is still going on (``stop_reason`` ``"closed"``). The report is kept:
        a second call returns the same one. An infrastructure failure, then or earlier, gives a
        report with ``infra_failed`` and no total.

        Raises:
            UsageError: a step is running, or the episode was closed before it was scored.
        """
        async with self._score_lock:
            if self._report is not None:
                return self._report
            began = time.monotonic()
            report = None
            try:
                if not self._record.infra_error:
                    async with self._gate.hold("score"):
                        report = await self._grade()
            except InfraError as error:
                self._record.infra_error = self._record.infra_error or str(error)
                report = None
            if report is None:
                report = RewardReport(
                    total=None, infra_failed=True, infra_error=self._record.infra_error
                )
            elif report.infra_failed:
                self._record.infra_error = (
                    report.infra_error or "the rewards report an infra failure"
                )
            self._report = report
            self._seconds["score"] = seconds = time.monotonic() - began
            self._emit(Event("scored", report=report, seconds=seconds))
            return report

    async def _grade(self) -> RewardReport:
        if self._record.stop_reason is None:
            self._record.stop_reason = "closed"
            self._emit(Event("stopped", stop_reason="closed"))
        if self.change is None:
            self.change = (await self.sandbox.export()).without_caches()
        report, self.scored = await score_change(
            self._setting, self._prepared, self.change, self.trajectory, self.training_step
        )
        return report

    def step_scorer(self) -> StepScorer:
        """What tells the reward of each step from here on; feed it the steps as they are played."""
        from repodrome.envs.rewards.steps import StepScorer

        terms, _ = self._setting.plan.terms(self.training_step)
        pairs = [(term.reward, term.weight) for term in terms]
        return StepScorer(self.task, pairs, self._record.steps, self._setting.toolbox.renamed)

    # -- snapshots ------------------------------------------------------------------------------

    async def snapshot(self) -> EpisodeSnapshot:
        """Remember the present moment; the episode goes on.

        Raises:
            UsageError: a step is running, or it is scored or closed.
            SandboxError: the sandbox failed.
        """
        self._check_unscored("snapshot")
        async with self._gate.hold("snapshot"):
            files = await self.sandbox.snapshot()
        return EpisodeSnapshot(
            sandbox=files,
            state=self._play.state.copy(),
            record=self._record.copy(),
        )

    async def restore(self, snapshot: EpisodeSnapshot) -> None:
        """Go back to a snapshot of this episode, limits used included.

        Raises:
            UsageError: a step is running, or it is scored or closed.
            SandboxError: the sandbox failed.
        """
        self._check_unscored("restore")
        async with self._gate.hold("restore"):
            await self.sandbox.restore(snapshot.sandbox)
        self._play.go_on_from(snapshot.record.copy(), snapshot.state.copy())

    async def fork(self, *, on_event: EventHandler | None = None) -> Episode:
        """A second episode that goes on from here, in a sandbox of its own.

        Args:
            on_event: told what happens in the fork; default: nobody.

        Raises:
            UsageError: a step is running, or it is scored or closed.
            SandboxError: the sandbox failed.
        """
        self._check_unscored("fork")
        began = time.monotonic()
        async with self._gate.hold("fork"):
            sandbox = await self.sandbox.fork()
        other = Episode(
            self._setting,
            self._prepared,
            sandbox,
            training_step=self.training_step,
            on_event=on_event,
        )
        other._play.go_on_from(self._record.copy(), self._play.state.copy())
        other._seconds["start"] = time.monotonic() - began
        return other

    # -- ending ---------------------------------------------------------------------------------

    async def close(self) -> None:
        """Kill everything and give everything back. Idempotent; may be called in mid-step.

        A step that is running ends at once, with ``stop_reason`` ``"closed"``. If the caller is
        cancelled, closing goes on behind.

        Raises:
            SandboxError: the sandbox could not be taken down.
        """
        self._gate.shut()
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        await self._gate.empty()
        if self._record.stop_reason is None:
            self._record.stop_reason = "closed"
        await self.sandbox.close()
        self._emit(Event("closed"))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def _check_unscored(self, what: str) -> None:
        self._gate.check(what)
        if self.change is not None or self._report is not None or self._record.infra_error:
            raise UsageError(f"can't {what}: the episode was scored or has failed")

    def _emit(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)
