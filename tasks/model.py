"""The Task: frozen data that says what an episode is about. A superset of Harbor's ``task.toml``.

Only data; folders are read by :mod:`repodrome.tasks.folder`, sources made into trees by
:mod:`repodrome.tasks.source`. Unknown keys are kept aside and reported, never refused, so that a
Harbor task loads as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from repodrome.tasks.locate import Location


class TaskModel(BaseModel):
    """Base: frozen; unknown keys are ignored here and listed by the folder loader."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class SourceEdit(TaskModel):
    """One step that derives the agent's workspace from the source; the oracle undoes them all.

    Attributes:
        op: ``delete`` a file or directory; ``delete_symbol`` removes functions, methods, classes or
            assignments (dotted names) from a Python file; ``stub_symbol`` replaces their bodies by
            ``raise NotImplementedError`` (signature, decorators and docstring stay unless
            ``keep_docstring`` is false); ``replace`` changes one exact occurrence of ``old``.
        path: file, relative to the workspace.
        symbols: dotted names for the symbol operations.
        old: for ``replace``: text that occurs exactly once.
        new: for ``replace``.
    """

    op: Literal["delete", "delete_symbol", "stub_symbol", "replace"]
    path: str
    symbols: tuple[str, ...] = ()
    keep_docstring: bool = True
    old: str = ""
    new: str = ""


class Source(TaskModel):
    """Where the pristine workspace comes from: ``directory``, ``git`` or ``pypi``.

    With none of them it is the working directory of the task's image, or empty where it has none.

    Attributes:
        directory: a directory, relative to the task folder (default: ``workspace`` where present).
        git: a URL or path of a repository; ``commit`` is a full SHA.
        pypi: a project name; ``version`` and ``sha256`` pin its sdist.
        remove: globs taken out of the tree for good (for example caches).
        hidden: globs taken out of the agent's tree and put back only for grading (a project's own
            tests).
        edits: steps that derive the agent's tree; the oracle restores what they changed.
    """

    directory: str | None = None
    git: str | None = None
    commit: str | None = None
    pypi: str | None = None
    version: str | None = None
    sha256: str | None = None
    remove: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    edits: tuple[SourceEdit, ...] = ()

    @model_validator(mode="after")
    def _one_origin(self) -> Source:
        given = [k for k in ("directory", "git", "pypi") if getattr(self, k)]
        if len(given) > 1:
            raise ValueError("give only one of 'directory', 'git' and 'pypi'")
        if self.git and not re.fullmatch(r"[0-9a-f]{40}([0-9a-f]{24})?", self.commit or ""):
            raise ValueError("a git source needs 'commit', a full SHA")
        if self.pypi and not (self.version and self.sha256):
            raise ValueError("a pypi source needs 'version' and 'sha256'")
        if self.pypi and not re.fullmatch(r"[0-9a-fA-F]{64}", self.sha256 or ""):
            raise ValueError("'sha256' is 64 hexadecimal digits, as in the index's link")
        return self


class EnvironmentSpec(TaskModel):
    """What the workspace needs around it (Harbor's ``[environment]`` plus packages and set-up).

    Attributes:
        packages: Python requirements installed into ``/env`` at set-up, for agent and grader alike.
        setup: shell commands run once in ``/workspace`` at set-up, with network, as a cached layer.
        python: ``"host"`` (the interpreter that runs repodrome) or a version such as ``"3.12"``;
            in an image it is the image's ``python3``, whose version has to fit.
        env: environment variables of every command.
        docker_image: for the Docker backend; default: built from ``environment/Dockerfile``, else
            the base image.
        network_mode: what the agent's and the grader's sandboxes reach: ``none``, ``allowlist``
            (HTTP to ``allowed_hosts``; needs the Docker backend) or ``full`` (Harbor: ``public``).
        allowed_hosts: names, ``*.names``, addresses or ranges, each with ``:port`` if wanted.
    """

    packages: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    python: str = "host"
    env: dict[str, str] = {}
    docker_image: str | None = None
    cpus: float = Field(default=2.0, gt=0, le=1024)
    memory_mb: int = Field(default=2048, ge=64)
    storage_mb: int = Field(default=2048, ge=16)
    inodes: int = Field(default=200_000, ge=1000)
    pids: int = Field(default=512, ge=16)
    network_mode: str = "none"
    allowed_hosts: tuple[str, ...] = ()
    build_timeout_sec: float = Field(default=900.0, gt=0)

    @property
    def network(self) -> Literal["none", "allowlist", "full"]:
        """``network_mode`` in our words; Harbor says ``public`` and ``no-network`` as well."""
        if self.network_mode in ("full", "public"):
            return "full"
        # As Harbor has it, a list without hosts allows none.
        return "allowlist" if self.network_mode == "allowlist" and self.allowed_hosts else "none"


class VerifierSpec(TaskModel):
    """How the agent's change is judged.

    Attributes:
        kind: ``pytest`` (exact test ids), ``mutants`` (the agent's tests must pass on the pristine
            code and fail on each planted mutant in ``tests/mutants/<name>/``, whose files replace
            workspace files), ``output`` (what ``command`` prints for the inputs of
            ``tests/cases.toml``), ``benchmark`` (likewise, and how long it takes beside the
            reference), ``command`` (a command and a parser), ``script`` (Harbor's
            ``tests/test.sh`` writing ``/logs/verifier/reward.json`` or ``.txt``), ``none`` (nothing
            is run: the rewards judge what the agent said and did).
        inject_at: where the files of ``tests/`` go in the workspace.
        run: for pytest: test files or directories to run (default: those of the expected ids).
        run_in: for pytest: workspace directory the tests are run in (``"."`` is the workspace
            itself); default: ``/tmp``, outside the workspace.
        python_path: workspace directories put at the END of ``sys.path``, e.g. ``["src"]``.
        fail_to_pass, pass_to_pass: exact test ids; normally in ``expected.json`` beside
            ``task.toml`` (keys FAIL_TO_PASS, PASS_TO_PASS), written by ``repodrome task validate``.
        protected: further globs that always come from pristine.
        allow: globs that are brought over although protected by default.
        agent_tests: for mutants: globs of the test files that the agent may write.
        command: for ``command``, ``output`` and ``benchmark``: argv or a shell line, run in the
            workspace; a case's arguments follow, a shell line has them as ``"$@"``.
        parser: for ``command``: ``exit-code``, ``junit-xml`` or ``tap``.
        report: for ``junit-xml``: path of the report.
        compare: for ``output`` and ``benchmark``: ``exact``, ``lines`` (white space at the end of
            lines, and empty lines at the end, don't count), ``numbers`` (words, numbers by value)
            or ``json`` (by value).
        tolerance: for ``numbers`` and ``json``: how far a number may be off, absolutely or as a
            share of the expected one.
        case_timeout_sec: for ``output`` and ``benchmark``: of one run of the program; past it the
            agent has failed.
        reference_command: for ``benchmark``: what the program is compared with, run in the pristine
            workspace with the files of ``tests/``; default: ``command`` with the solution.
        target: for ``benchmark``: full score up to this many times the reference's time.
        rounds: for ``benchmark``: how often each is timed at most.
        canaries: plant must-fail tests (pytest).
        timeout_sec: of the tests' own run; past it the agent has failed.
    """

    kind: Literal["pytest", "mutants", "output", "benchmark", "command", "script", "none"] = (
        "pytest"
    )
    inject_at: str = "tests"
    run: tuple[str, ...] = ()
    run_in: str = ""
    python_path: tuple[str, ...] = ()
    pytest_args: tuple[str, ...] = ()
    fail_to_pass: tuple[str, ...] = ()
    pass_to_pass: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    agent_tests: tuple[str, ...] = ()
    command: str | tuple[str, ...] = ()
    parser: str = "exit-code"
    report: str = ""
    compare: Literal["exact", "lines", "numbers", "json"] = "lines"
    tolerance: float = Field(default=0.0, ge=0, lt=1)
    case_timeout_sec: float = Field(default=10.0, gt=0)
    reference_command: str | tuple[str, ...] = ()
    target: float = Field(default=1.5, gt=1)
    rounds: int = Field(default=15, ge=5, le=100)
    canaries: bool = True
    timeout_sec: float = Field(default=300.0, gt=0)


class ToolsSpec(TaskModel):
    """Which tools the agent has: all standard ones unless ``include`` names them.

    Attributes:
        include: the only tools; None means every standard tool.
        exclude: tools taken away.
        read_only: of these, only tools that change nothing.
        config: tool name → its settings, e.g. ``{terminal = {max_output_bytes = 20000}}``.
        rename: ``tool`` or ``tool.parameter``, by their own names → what the agent calls them.
        describe: the same keys → another description.
        checks: of arguments: ``strict``; ``exact`` takes no null for a default and no 5.0 for 5;
            ``lenient`` also ``"5"`` for 5, and leaves out what is unknown.
        perturb: what each episode's seed changes: names of ``tools``, names of ``parameters``,
            ``order`` of both.
        hints: show the agent the hint of a failed call; ``info["hints"]`` has it in any case.
    """

    include: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    read_only: bool = False
    config: dict[str, dict[str, Any]] = {}
    rename: dict[str, str] = {}
    describe: dict[str, str] = {}
    checks: Literal["exact", "strict", "lenient"] = "strict"
    perturb: tuple[Literal["tools", "parameters", "order"], ...] = ()
    hints: bool = False


class Schedule(TaskModel):
    """A weight that depends on the training step.

    Attributes:
        points: ``[step, weight]`` pairs, by rising step; before the first and behind the last one
            the weight stays as it is there.
        between: ``"linear"``, or ``"hold"`` the earlier one until the next.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    points: tuple[tuple[float, float], ...] = Field(min_length=1)
    between: Literal["linear", "hold"] = "linear"

    @field_validator("points")
    @classmethod
    def _rises(cls, value: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        steps = [step for step, _ in value]
        if any(later <= step for step, later in pairwise(steps)):
            raise ValueError("the steps don't rise; sort the points, each step once")
        return value

    def at(self, step: float) -> float:
        """The weight at a step."""
        before = [point for point in self.points if point[0] <= step]
        if not before:
            return self.points[0][1]
        if len(before) == len(self.points) or self.between == "hold":
            return before[-1][1]
        (start, low), (end, high) = before[-1], self.points[len(before)]
        return low + (high - low) * (step - start) / (end - start)


class RewardSpec(TaskModel):
    """One reward term: its name, weight and own parameters (every other key)."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    weight: float | Schedule = 1.0

    @field_validator("weight", mode="before")
    @classmethod
    def _number_or_schedule(cls, value: object) -> object:
        example = "{points = [[0, 0.0], [1000, 0.2]]}"
        if isinstance(value, Mapping):
            try:
                return Schedule.model_validate(value)
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                where = ".".join(map(str, first["loc"]))
                message = first["msg"].removeprefix("Value error, ")
                raise ValueError(f"{where}: {message}; write e.g. {example}") from None
        if isinstance(value, Schedule | int | float) and not isinstance(value, bool):
            return value
        raise ValueError(f"give a number, or a schedule such as {example}")

    @property
    def weight_text(self) -> str:
        """The weight for people: ``0.2``, or ``0 (step 0) … 0.2 (step 1000)``."""
        if isinstance(self.weight, Schedule):
            return " … ".join(f"{weight:g} (step {step:g})" for step, weight in self.weight.points)
        return f"{self.weight:g}"

    def weight_at(self, training_step: int | None) -> float:
        """The weight at a training step; without one, at step 0."""
        if isinstance(self.weight, Schedule):
            return self.weight.at(training_step or 0)
        return self.weight

    @property
    def params(self) -> dict[str, Any]:
        """The reward's own parameters."""
        return dict(self.model_extra or {})


class Limits(TaskModel):
    """What ends an episode (Harbor's ``[agent]`` plus ours); reaching one truncates it.

    Attributes:
        timeout_sec: wall time of the agent's part.
        max_turns: agent turns.
        max_tool_calls: tool calls over the whole episode.
        max_calls_per_turn: further calls of one turn are refused with an observation.
        command_timeout_sec: longest a terminal command may ask for.
    """

    timeout_sec: float = Field(default=1800.0, gt=0)
    max_turns: int = Field(default=100, ge=1)
    max_tool_calls: int = Field(default=400, ge=1)
    max_calls_per_turn: int = Field(default=8, ge=1)
    command_timeout_sec: float = Field(default=600.0, gt=0)


class ContextSpec(TaskModel):
    """How much of an episode the agent's model sees at once.

    Attributes:
        budget: tokens that the context may hold, tool schemas included; when it is full the agent
            is asked to summarise, and goes on in a new context. 0: no bound.
        summary: of these, tokens kept for a summary; 0: an eighth of the budget.
        tokenizer: counts the tokens: ``bytes`` (four bytes a token), or an installed one.
    """

    budget: int = Field(default=0, ge=0)
    summary: int = Field(default=0, ge=0)
    tokenizer: str = "bytes"


class LocateSpec(TaskModel):
    """A task that asks for places instead of a change: for ``repodrome/Locate-v0``.

    With it, where the task doesn't say otherwise: tools that only read, 8 calls a turn, 4 turns,
    the verifier ``none`` and the reward ``retrieval``.

    Attributes:
        gold: the right answer: ``path``, ``path:line`` or ``path:first-last``.
    """

    gold: tuple[str, ...] = ()

    @field_validator("gold")
    @classmethod
    def _are_locations(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            Location.parse(text)
        return value


class UserRule(TaskModel):
    """One thing that the simulated user says, and when.

    An agent *hands over* when it answers with plain text or finishes. Every rule speaks once,
    ``times`` at most; in a turn the first one speaks that can.

    Attributes:
        when: ``question``: the agent hands over and has changed no file; ``done``: it hands over;
            ``turns``: ``after`` turns are played, or the agent hands over before; ``changed``: a
            file that ``path`` covers differs from the pristine one; ``says``: the agent's message
            has what ``pattern`` finds.
        say: what the user says.
        kind: ``answer``, ``interrupt`` or ``change`` (of the request), as the record names it;
            default: ``answer`` for ``question`` and ``done``, else ``interrupt``.
        after: for ``turns``.
        path: for ``changed``: a glob.
        pattern: a regular expression, searched for in the agent's message without regard to case;
            for the other rules a further condition.
        times: how often it speaks at most.
    """

    when: Literal["question", "done", "turns", "changed", "says"]
    say: str
    kind: Literal["", "answer", "interrupt", "change"] = ""
    after: int = Field(default=0, ge=0)
    path: str = ""
    pattern: str = ""
    times: int = Field(default=1, ge=1)

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"it is no regular expression: {error}") from None
        return value

    @model_validator(mode="after")
    def _is_complete(self) -> UserRule:
        needed = {"turns": "after", "changed": "path", "says": "pattern"}.get(self.when)
        if needed and not getattr(self, needed):
            raise ValueError(f"a rule for {self.when!r} needs {needed!r}")
        if not self.say.strip():
            raise ValueError("'say' is empty")
        return self


class UserSpec(TaskModel):
    """A simulated user, who answers, interrupts or changes the request; without rules and model
    there is none, and an agent that hands over has finished.

    Attributes:
        rules: what the user says, in the order in which they are tried.
        model: a language model that answers where no rule does, at the OpenAI-compatible endpoint
            of ``OPENAI_BASE_URL`` and ``OPENAI_API_KEY``.
        brief: for the model: who the user is, what they want and know.
        max_replies: how often the model answers.
    """

    rules: tuple[UserRule, ...] = ()
    model: str = ""
    brief: str = ""
    max_replies: int = Field(default=3, ge=1)

    @property
    def present(self) -> bool:
        """There is a user."""
        return bool(self.rules or self.model)


Difficulty = Literal["easy", "medium", "hard"]


class Metadata(TaskModel):
    """For people and statistics; every further key is kept."""

    model_config = ConfigDict(frozen=True, extra="allow")

    category: str = ""
    difficulty: Difficulty | str = ""
    tags: tuple[str, ...] = ()


class Task(TaskModel):
    """One task.

    Attributes:
        id: ``suite/name``; a folder outside any suite gives ``folder/<name>``.
        instruction: what the agent is told.
        folder: the task folder, absolute; never shown to the agent.
        ignored_keys: dotted keys of ``task.toml`` that repodrome doesn't know.
    """

    id: str
    instruction: str
    folder: Annotated[Path, Field(repr=False)]
    source: Source
    environment: EnvironmentSpec = EnvironmentSpec()
    verifier: VerifierSpec = VerifierSpec()
    tools: ToolsSpec = ToolsSpec()
    rewards: tuple[RewardSpec, ...] = (RewardSpec(name="tests"),)
    limits: Limits = Limits()
    context: ContextSpec = ContextSpec()
    user: UserSpec = UserSpec()
    locate: LocateSpec = LocateSpec()
    metadata: Metadata = Metadata()
    ignored_keys: tuple[str, ...] = ()

    @field_validator("instruction")
    @classmethod
    def _says_something(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("the instruction is empty")
        return value

    @property
    def name(self) -> str:
        """The part of the id behind the suite."""
        return self.id.rpartition("/")[2]
