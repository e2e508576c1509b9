"""``repodrome run``: play a task, or a whole suite, and show the rewards."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repodrome.harness.cli import screen

if TYPE_CHECKING:
    from repodrome.harness.result import Result
    from repodrome.harness.rollout import Job

TaskArgument = Annotated[
    str, typer.Argument(metavar="TASK", help="suite/name, the path of a task folder, or a suite.")
]
SandboxOption = Annotated[str, typer.Option("--sandbox", help="Sandbox backend.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print exactly one JSON object on standard output.")
]
RewardOption = Annotated[
    list[str] | None,
    typer.Option(
        "--reward",
        metavar="NAME[:KEY=VALUE,…]",
        help="A term in place of the task's own; may be repeated. weight=0.2 is a key, too.",
    ),
]
RulesOption = Annotated[
    Path | None,
    typer.Option("--rules", metavar="FILE", help="A rules file that changes the terms."),
]


def run(
    task: TaskArgument,
    agent: Annotated[
        str,
        typer.Option(
            "--agent",
            help="oracle, nop, human, scripted:FILE, openai:MODEL, or an installed agent.",
        ),
    ] = "oracle",
    agent_config: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="A setting of the agent, e.g. temperature=0.2; may be repeated.",
        ),
    ] = None,
    sandbox: SandboxOption = "bubblewrap",
    seed: Annotated[int, typer.Option(help="Seed of the first episode.")] = 0,
    out: Annotated[
        Path, typer.Option(help="Directory for the trajectory files, one an episode.")
    ] = Path("runs"),
    as_json: JsonOption = False,
    repeats: Annotated[int, typer.Option(min=1, help="Episodes of each task.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Episodes played at once.")] = 2,
    context_budget: Annotated[
        int | None,
        typer.Option(min=0, help="Tokens of a context, 0 without bound; default: the task's own."),
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Counts them: bytes, or an installed one.")
    ] = None,
    reward: RewardOption = None,
    rules: RulesOption = None,
    training_step: Annotated[
        int | None, typer.Option(min=0, help="For weights with a schedule.")
    ] = None,
) -> None:
    """Play TASK and print its steps as they happen, then its reward report.

    Exit status: 0 played (whatever the reward), 2 bad usage, 3 infrastructure failure,
    130 interrupted.
    """
    from repodrome.harness.cli import show
    from repodrome.harness.cli.loop import run as run_loop
    from repodrome.harness.cli.rewards import reward_specs
    from repodrome.harness.rollout import Scoring, play_many

    plays = _jobs(task, agent, _settings(agent_config or ()), seed, repeats)
    interactive = plays[0].agent().interactive
    screen_for_steps = screen.err() if as_json else screen.out()
    labels = [f"{job.task.id} s{job.seed}" for job in plays]
    several = len(plays) > 1
    watch = show.labelled(
        screen.err() if several else screen_for_steps, labels, steps=not interactive and not several
    )

    def finished(place: int, result: Result) -> None:
        if several:
            note = f"{labels[place]}: reward {show.number(result.reward)}"
            screen.progress(f"{note}, {show.result_note(result)}")

    async def main() -> list[Result]:
        return await play_many(
            plays,
            backend=sandbox,
            out=out,
            context_budget=context_budget,
            tokenizer=tokenizer,
            concurrency=1 if interactive else jobs,
            on_event=watch,
            on_result=finished,
            scoring=Scoring(reward_specs(reward), rules, training_step),
        )

    try:
        results = run_loop(main)
    except KeyboardInterrupt:
        # What was played is there, and replays up to where it ended.
        screen.progress(f"trajectories so far: {out}/")
        raise
    if as_json:
        screen.print_json(results[0].to_json() if not several else _together(task, agent, results))
    elif several:
        screen.out().print(show.results_table(results))
        screen.progress(f"trajectories: {out}/")
    else:
        screen.out().print(show.report_table(results[0]))
        screen.progress(f"trajectory: {results[0].trajectory}")
    if any(result.infra_failed for result in results):
        raise typer.Exit(screen.EXIT_INFRA)


def _settings(given: Sequence[str]) -> dict[str, Any]:
    """An agent's settings from ``KEY=VALUE``: JSON, or text where it is none.

    Raises:
        UsageError: one has no value.
    """
    from repodrome.errors import UsageError

    settings: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--agent-config {text!r} can't be read; write KEY=VALUE")
        try:
            settings[key] = json.loads(value)
        except json.JSONDecodeError:
            settings[key] = value
    return settings


def _jobs(ref: str, agent: str, config: Mapping[str, Any], seed: int, repeats: int) -> list[Job]:
    from repodrome.errors import UsageError
    from repodrome.harness.agents.registry import get_agent
    from repodrome.harness.cli.refs import tasks_of
    from repodrome.harness.rollout import Job

    get_agent(agent, config)  # a bad name or file is said before anything is set up
    plays = [
        Job(
            task=task,
            agent=lambda: get_agent(agent, config),
            seed=seed + number,
            agent_config=config,
        )
        for task in tasks_of([ref])
        for number in range(repeats)
    ]
    if not plays:
        raise UsageError(f"suite {ref!r} has no tasks; add task folders to it")
    return plays


def _together(ref: str, agent: str, results: list[Result]) -> dict[str, Any]:
    """Several episodes as one object: means over those that have a reward, and each episode."""
    rewards = [result.reward for result in results if result.reward is not None]
    by_name: dict[str, list[float]] = {}
    for result in results:
        if result.report is not None and not result.infra_failed:
            for part in result.report.rewards:
                by_name.setdefault(part.name, []).append(part.value)
    stops = {result.stop_reason for result in results}
    return {
        "task": ref,
        "agent": agent,
        "reward": sum(rewards) / len(rewards) if rewards else None,
        "rewards": [
            {"name": name, "value": sum(values) / len(values)} for name, values in by_name.items()
        ],
        "stop_reason": stops.pop() if len(stops) == 1 else "mixed",
        "infra_failed": any(result.infra_failed for result in results),
        "steps": sum(result.steps for result in results),
        "timings": {
            phase: round(sum(result.timings.get(phase, 0.0) for result in results), 4)
            for phase in results[0].timings
        },
        "episodes": [result.to_json() for result in results],
    }
